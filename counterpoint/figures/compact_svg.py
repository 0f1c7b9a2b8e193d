"""matplotlib's SVG said in fewer bytes: the same picture, a tenth of the text.

matplotlib writes every mark, tick and word as an element of its own, with six decimals and a
style of its own. Here a drawing is read into a list of paths, texts and images, in the order in
which they are painted, and written anew:

* places to a tenth of a point, each relative to the one before;
* a line without the points that lie within `TOLERANCE` of it;
* marks of one look, one after another, as one path, without those that lie within `NEAR` of
  another; a round mark as a circle, or without an edge as a dot, a round line without length;
* what neighbours share stands once, around them, words of one look one after another; a frame that
  cuts nothing off is left out.

Text stays text, to be selected and searched. Marks of one look that lie on each other do not darken
each other. What is not of matplotlib's kind (a hatch, a gradient) is left as it is.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from PIL import Image

from counterpoint.figures.svg_paths import (
    Box,
    Command,
    Point,
    UnknownDrawing,
    box_of,
    commands,
    overlap,
    path_text,
    short,
    thinned,
    within,
)

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"

NEAR = 0.2
"""How near to each other two marks of one look are one, in points."""

REACH = 200
"""How many items one may go back to join one of its look."""

BAR = 128
"""Steps of a scale of colours, between which it is even to the eye."""

FAMILY = "DejaVu Sans,Verdana,sans-serif"
"""Verdana is as wide; a machine without both takes its own."""


@dataclass
class _Item:
    """Something painted: a path, or an element that is written as it is."""

    style: dict[str, str]
    frame: str | None = None
    path: list[Command] = field(default_factory=list)
    mark: Point | None = None
    element: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    text: str = ""
    boxes: list[Box] = field(default_factory=list)
    places: set[tuple[object, ...]] = field(default_factory=set)

    @property
    def look(self) -> tuple[dict[str, str], str | None]:
        return self.style, self.frame

    def is_like(self, other: _Item) -> bool:
        """Whether both as one path look as they do one after the other: marks, or strokes through
        which nothing shines (of ticks, too, which have a fill and no inside)."""
        if self.mark is not None and other.mark is not None:
            return True
        faint = any("opacity" in name for name in self.style)
        outlines = self.style.get("fill") == "none" or (self._is_tick and other._is_tick)
        return outlines and not faint

    @property
    def _is_tick(self) -> bool:
        names = "".join(name for name, _ in self.path)
        return not names.replace("ML", "")


def compact_svg(svg: bytes) -> bytes:
    """Return an SVG that matplotlib has written (with ``svg.fonttype: none``) in fewer bytes.

    The size stays as it is. A drawing with other elements than matplotlib's usual ones is returned
    unchanged.
    """
    root = ElementTree.fromstring(svg)
    try:
        reader = _Reader(root)
    except UnknownDrawing:
        return svg
    return _written(root, reader).encode("utf-8")


class _Reader:
    """Reads a drawing into `items`; `frames` are the rectangles that items are cut to."""

    def __init__(self, root: ElementTree.Element) -> None:
        self.items: list[_Item] = []
        self.frames = {str(one.get("id")): _rectangle(one) for one in root.iter(f"{SVG}clipPath")}
        self._marks = {f"#{one.get('id')}": one for one in root.iter(f"{SVG}path") if one.get("id")}
        for child in root:
            self._read(child, None)

    def _read(self, element: ElementTree.Element, frame: str | None) -> None:
        kind = element.tag.removeprefix(SVG)
        own = re.fullmatch(r"url\(#(.*)\)", element.get("clip-path", ""))
        frame = own[1] if own else frame
        if kind in ("g", "a"):
            for child in element:
                self._read(child, frame)
        elif kind == "path":
            self._add(_Item(_style(element), frame, commands(element.get("d", ""))))
        elif kind == "use":
            self._use(element, frame)
        elif kind == "text":
            self._add(_text(element, frame))
        elif kind == "image":
            self._add(_image(element, frame))
        elif kind == "defs":
            _check_definitions(element)
        elif not element.tag.endswith("metadata"):
            raise UnknownDrawing(kind)

    def _use(self, element: ElementTree.Element, frame: str | None) -> None:
        mark = self._marks.get(element.get(LINK, ""))
        if mark is None:
            raise UnknownDrawing("use")
        x, y = float(element.get("x", "0")), float(element.get("y", "0"))
        path: list[Command] = [
            (name, tuple((x + a, y + b) for a, b in points))
            for name, points in commands(mark.get("d", ""))
        ]
        self._add(_Item(_style(element) | _style(mark), frame, path, mark=(x, y)))

    def _add(self, item: _Item) -> None:
        if item.path:
            if item.frame is not None and within(box_of(item.path), self.frames[item.frame]):
                item.frame = None
            item.path = thinned(item.path)
            item = _round(item)
            item.boxes = [box_of(item.path, float(item.style.get("stroke-width", "1")) / 2)]
            if self._joined(item):
                return
        if item.path or item.element:
            self.items.append(item)

    def _joined(self, item: _Item) -> bool:
        """Whether the item became part of an earlier one of its look.

        It may go back over what it does not lie on, and over words, whose places are not known.
        """
        for earlier in self.items[: -1 - REACH : -1]:
            if earlier.path and earlier.look == item.look and earlier.is_like(item):
                if item.mark is not None and self._covered(earlier, item, item.mark):
                    return True
                earlier.path += item.path
                earlier.boxes += item.boxes
                return True
            if earlier.element == "image" or any(
                overlap(one, other) for one in item.boxes for other in earlier.boxes
            ):
                return False
        return False

    def _covered(self, earlier: _Item, item: _Item, place: Point) -> bool:
        """Whether a mark of this form stands at the place among those that it would join."""
        form = tuple(
            (name, *((round(x - place[0], 2), round(y - place[1], 2)) for x, y in points))
            for name, points in item.path
        )
        key = (form, round(place[0] / NEAR), round(place[1] / NEAR))
        there = key in earlier.places
        earlier.places.add(key)
        return there


def _check_definitions(element: ElementTree.Element) -> None:
    for one in element:
        if one.tag.removeprefix(SVG) not in ("path", "clipPath", "style"):
            raise UnknownDrawing(one.tag)


def _style(element: ElementTree.Element) -> dict[str, str]:
    """What an element looks like, by presentation attributes; left out is what holds anyway."""
    found = {}
    for entry in element.get("style", "").split(";"):
        name, _, value = entry.partition(":")
        name, value = name.strip(), value.strip()
        if "url(" in value:
            raise UnknownDrawing(value)
        if name and (name, value) != ("stroke-dashoffset", "0"):
            found[name] = _short_value(value)
    return found


def _short_value(value: str) -> str:
    """A value with at most two decimals; #ffffff as #fff."""
    if re.fullmatch(r"#([0-9a-f])\1([0-9a-f])\2([0-9a-f])\3", value):
        return f"#{value[1]}{value[3]}{value[5]}"
    return re.sub(
        r"\d+\.\d+", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value
    )


def _text(element: ElementTree.Element, frame: str | None) -> _Item:
    if len(element):
        raise UnknownDrawing("tspan")
    style = _style(element)
    if style.get("font-family") == "'DejaVu Sans'":
        del style["font-family"]
    if style.get("text-anchor") == "start":
        del style["text-anchor"]
    style = {name: value.removesuffix("px") for name, value in style.items()}
    moves = dict(re.findall(r"(\w+)\(([^)]*)\)", element.get("transform", "")))
    if set(moves) - {"translate", "rotate"}:
        raise UnknownDrawing("transform")
    x, y = float(element.get("x", "0")), float(element.get("y", "0"))
    if "translate" in moves:
        x, y = (float(one) for one in moves["translate"].split())
    turned = float(moves.get("rotate", "0").split()[0])
    if turned:
        # The places of words that are turned alike are said in axes that are turned with them.
        style["transform"] = f"rotate({turned:g})"
        sine, cosine = math.sin(math.radians(turned)), math.cos(math.radians(turned))
        x, y = cosine * x + sine * y, cosine * y - sine * x
    attributes = {"x": short(round(10 * x)), "y": short(round(10 * y))}
    text = element.text or ""
    if text != " ".join(text.split()):
        attributes |= {"xml:space": "preserve", "style": "white-space:pre"}
    return _Item(style, frame, element="text", attributes=attributes, text=text)


def _image(element: ElementTree.Element, frame: str | None) -> _Item:
    names = ("width", "height", "x", "y", "transform", "style")
    attributes = {name: element.attrib[name] for name in names if name in element.attrib}
    kind, _, data = element.get(LINK, "").partition(",")
    if kind != "data:image/png;base64":
        raise UnknownDrawing("image")
    picture: Image.Image = Image.open(io.BytesIO(base64.b64decode(data)))
    if picture.width > 1 and picture.height > BAR and _is_bar(picture):
        picture = picture.resize((1, BAR), Image.Resampling.BOX)
        attributes["preserveAspectRatio"] = "none"
    attributes["xlink:href"] = f"{kind},{base64.b64encode(_packed_png(picture)).decode('ascii')}"
    opacity = element.get("opacity")
    return _Item({"opacity": opacity} if opacity else {}, frame, element="image",
                 attributes=attributes)  # fmt: skip


def _is_bar(picture: Image.Image) -> bool:
    """Whether a picture's columns are all alike, as of a scale of colours that stands upright."""
    first = picture.crop((0, 0, 1, picture.height)).resize(picture.size, Image.Resampling.NEAREST)
    return first.tobytes() == picture.tobytes()


def _packed_png(picture: Image.Image) -> bytes:
    """A picture as PNG, in the fewest bytes of the ways that are easily had."""
    ways = [picture]
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (255, 255):
        ways.append(picture.convert("RGB"))
        if picture.getcolors(256):
            ways.append(ways[-1].quantize(256, dither=Image.Dither.NONE))
    found = []
    for way in ways:
        with io.BytesIO() as stream:
            way.save(stream, format="png", optimize=True)
            found.append(stream.getvalue())
    return min(found, key=len)


def _rectangle(frame: ElementTree.Element) -> Box:
    inner = frame.find(f"{SVG}rect")
    if inner is None:
        # Everything is outside, so that nothing is taken out of a frame of another form.
        raise UnknownDrawing("clipPath")
    x, y, width, height = (float(inner.get(name, "0")) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def _round(item: _Item) -> _Item:
    """A round mark as a circle or, without an edge, as a dot: a stroke without length, round at its
    ends; anything else as it is."""
    names = "".join(name for name, _ in item.path).removesuffix("Z")
    if item.mark is None or names != "M" + "C" * 8:
        return item
    ends = [points[-1] for _, points in item.path if points][:8]
    middle = (sum(x for x, _ in ends) / 8, sum(y for _, y in ends) / 8)
    radii = [math.dist(middle, end) for end in ends]
    radius = max(radii)
    if radius - min(radii) > 0.02 * radius:
        return item
    if "stroke" in item.style:
        item.path = [("O", (middle, (middle[0] + radius, middle[1])))]
        return item
    style = {
        "fill": "none",
        "stroke": item.style.get("fill", "#000"),
        "stroke-width": _short_value(f"{2 * radius:.4f}"),
        "stroke-linecap": "round",
    }
    opacity = item.style.get("fill-opacity", item.style.get("opacity"))
    if opacity:
        style["stroke-opacity"] = opacity
    return _Item(style, item.frame, [("M", (middle,)), ("L", (middle,))], mark=item.mark)


# ---------------------------------------------------------------------------------------- writing


def _attributes(values: dict[str, str]) -> str:
    return "".join(f" {name}={_quoted(value)}" for name, value in values.items())


def _quoted(value: str) -> str:
    quoted = quoteattr(value, {'"': "&quot;"})
    return f"'{quoted[1:-1]}'" if "'" not in value else quoted


def _words_by_look(items: Sequence[_Item]) -> list[_Item]:
    """The items, of which words that follow each other stand by their look."""
    sorted_items: list[_Item] = []
    for is_text, group in groupby(items, key=lambda item: item.element == "text"):
        run = list(group)
        if is_text:
            looks: dict[str, int] = {}
            run.sort(key=lambda item: looks.setdefault(repr(item.look), len(looks)))
        sorted_items += run
    return sorted_items


def _runs(items: Sequence[_Item]) -> Iterator[list[_Item]]:
    """Neighbours of one look."""
    run: list[_Item] = []
    for item in _words_by_look(items):
        if run and item.look != run[0].look:
            yield run
            run = []
        run.append(item)
    if run:
        yield run


def _written(root: ElementTree.Element, drawing: _Reader) -> str:
    frames = {name: f"f{place}" for place, name in enumerate(
        dict.fromkeys(item.frame for item in drawing.items if item.frame is not None)
    )}  # fmt: skip
    parts = []
    for name, mark in frames.items():
        left, top, right, bottom = (round(10 * one) for one in drawing.frames[name])
        box = path_text([("M", ((left / 10, top / 10),)), ("L", ((right / 10, top / 10),)),
                  ("L", ((right / 10, bottom / 10),)), ("L", ((left / 10, bottom / 10),)),
                  ("Z", ())])  # fmt: skip
        parts.append(f"<clipPath id='{mark}'><path d='{box}'/></clipPath>")
    for run in _runs(drawing.items):
        shared = dict(run[0].style)
        if run[0].frame is not None:
            shared["clip-path"] = f"url(#{frames[run[0].frame]})"
        around = len(run) > 1 or run[0].element == "image"
        inner = {} if around else shared
        body = "".join(_element(item, inner) for item in run)
        parts.append(f"<g{_attributes(shared)}>{body}</g>" if around and shared else body)
    linked = any(item.element == "image" for item in drawing.items)
    head = {
        "xmlns": "http://www.w3.org/2000/svg",
        **({"xmlns:xlink": "http://www.w3.org/1999/xlink"} if linked else {}),
        **{name: _short_value(root.attrib[name]) for name in ("width", "height", "viewBox")},
        "font-family": FAMILY,
        "stroke-linejoin": "round",
    }
    return f"<?xml version='1.0' encoding='utf-8'?><svg{_attributes(head)}>{''.join(parts)}</svg>"


def _element(item: _Item, look: dict[str, str]) -> str:
    if item.path:
        return f"<path{_attributes(look)} d='{path_text(item.path)}'/>"
    opened = f"<{item.element}{_attributes(look | item.attributes)}"
    return f"{opened}>{escape(item.text)}</text>" if item.element == "text" else f"{opened}/>"
