"""Compact SVG: the same picture as matplotlib's own, with its text to be searched."""

from __future__ import annotations

import io
import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from counterpoint.figures.compact_svg import compact_svg
from counterpoint.figures.svg_paths import TOLERANCE
from counterpoint.figures.theme import STYLE, new_figure, saved

SVG = "{http://www.w3.org/2000/svg}"


def plain(figure) -> bytes:
    """What matplotlib writes by itself."""
    with mpl.rc_context(STYLE), io.BytesIO() as stream:
        figure.savefig(stream, format="svg", metadata={"Date": None})
        return stream.getvalue()


def drawing():
    with new_figure(5, 4) as figure:
        ax = figure.subplots()
        at = np.linspace(0, 1, 300)
        ax.plot(at, np.sin(9 * at), label="a < b & “c”")
        ax.plot(at[::30], np.cos(9 * at[::30]), "^", color="#D55E00", ms=5, mec="white")
        ax.scatter(at[::3], at[::3] ** 2, s=9, alpha=0.5, linewidths=0, color="#009E73")
        ax.fill_between(at, -0.2, 0.2, alpha=0.2)
        ax.imshow([[0, 1], [1, 0]], extent=(0, 0.2, -1, -0.8), aspect="auto")
        ax.set_ylabel("turned, α")
        ax.set_xlim(-0.1, 0.9)
        ax.set_ylim(-1.2, 1.2)
        ax.legend()
        return figure


def ends(d: str) -> list[tuple[float, float]]:
    """Where each command of a path ends, absolute."""
    place, start, found = (0.0, 0.0), (0.0, 0.0), []
    for name, numbers in re.findall(r"([MLHVCQZ])([^MLHVCQZ]*)", d, re.IGNORECASE):
        values = [float(one) for one in re.findall(r"-?(?:\d*\.\d+|\d+)", numbers)]
        if name in "Zz":
            place = start
            continue
        step = {"m": 2, "l": 2, "h": 1, "v": 1, "c": 6, "q": 4}[name.lower()]
        assert values and len(values) % step == 0, (name, numbers)
        for first in range(0, len(values), step):
            own = values[first : first + step]
            x, y = place if name.islower() else (0.0, 0.0)
            if name in "hH":
                place = (x + own[0], place[1])
            elif name in "vV":
                place = (place[0], y + own[0])
            else:
                place = (x + own[-2], y + own[-1])
            if name == "M":
                start = place
            found.append(place)
    return found


def test_every_word_is_text_in_its_place() -> None:
    figure = drawing()
    before, after = (
        ElementTree.fromstring(plain(figure)),
        ElementTree.fromstring(saved(figure, "svg")),
    )
    words = [one.text for one in before.iter(f"{SVG}text")]
    assert "a < b & “c”" in words and "turned, α" in words
    assert sorted(one.text for one in after.iter(f"{SVG}text")) == sorted(words)

    def places(root: ElementTree.Element) -> list[tuple[str, float, float]]:
        """Words that are not turned, with their places."""
        found = []
        for one in root.iter(f"{SVG}text"):
            if "x" in one.attrib and one.text != "turned, α":
                found.append((str(one.text), float(one.get("x")), float(one.get("y"))))
        return sorted(found)

    assert len(places(before)) > 10
    for old, new in zip(places(before), places(after), strict=True):
        assert old[0] == new[0] and math.dist(old[1:], new[1:]) <= 0.08
    turned = next(one for one in after.iter() if one.get("transform") == "rotate(-90)")
    old = next(one for one in before.iter(f"{SVG}text") if one.text == "turned, α")
    x, y = float(old.get("x")), float(old.get("y"))
    # Turned by a quarter to the left, x lies along −y.
    assert math.dist((float(turned.get("x")), float(turned.get("y"))), (-y, x)) <= 0.08
    assert before.get("viewBox") == after.get("viewBox") and before.get("width") == after.get(
        "width"
    )


def test_lines_go_where_they_went_and_marks_are_all_there() -> None:
    figure = drawing()
    curve = next(line for line in figure.axes[0].lines if len(line.get_xdata()) == 300)
    drawn = ElementTree.fromstring(saved(figure, "svg"))
    paths = [ends(str(one.get("d"))) for one in drawn.iter(f"{SVG}path")]
    height = 4 * 72
    exact = curve.get_transform().transform(np.column_stack(curve.get_data())) * 72 / figure.dpi
    exact[:, 1] = height - exact[:, 1]
    exact = exact[curve.get_xdata() < 0.89]

    def distance(point, line) -> float:
        best = math.inf
        for (x, y), (u, v) in pairwise(line):
            length = (u - x) ** 2 + (v - y) ** 2
            share = ((point[0] - x) * (u - x) + (point[1] - y) * (v - y)) / length if length else 0
            share = min(1.0, max(0.0, share))
            best = min(best, math.dist(point, (x + share * (u - x), y + share * (v - y))))
        return best

    def off(line) -> float:
        return max(distance(point, line) for point in exact[::7])

    shown = min((line for line in paths if len(line) > 10), key=off)
    # matplotlib leaves points out itself, up to a ninth of a point, and places are tenths.
    assert off(shown) < TOLERANCE + 1 / 9 + 0.1 and len(shown) < 150
    dots = [one for one in drawn.iter(f"{SVG}path") if "h0" in str(one.get("d"))]
    # Two paths: of those that the axes cut off, and of the others.
    assert sum(str(one.get("d")).count("M") for one in dots) == 100
    assert {one.get("stroke-width") for one in dots} == {"3"}
    assert {one.get("stroke-opacity") for one in dots} == {"0.5"}
    triangles = [one for one in drawn.iter(f"{SVG}path") if one.get("stroke") == "#fff"]
    assert sum(str(one.get("d")).count("z") for one in triangles) == 10


def test_what_is_cut_off_stays_cut_off() -> None:
    drawn = ElementTree.fromstring(saved(drawing(), "svg"))
    frames = {one.get("id") for one in drawn.iter(f"{SVG}clipPath")}
    used = {
        str(one.get("clip-path"))[5:-1] for one in drawn.iter() if one.get("clip-path") is not None
    }
    assert len(frames) == 1 and frames == used


def test_it_is_a_fraction_of_the_size_and_always_the_same() -> None:
    figure = drawing()
    assert len(saved(figure, "svg")) < len(plain(figure)) / 4
    assert saved(figure, "svg") == saved(drawing(), "svg")


def test_what_matplotlib_seldom_writes_is_left_as_it_is() -> None:
    with new_figure(2, 2) as figure:
        figure.subplots().bar([0, 1], [1, 2], hatch="/")
    svg = plain(figure)
    assert compact_svg(svg) == svg


@pytest.mark.parametrize("text", ["  two  spaces", "<script>alert(1)</script>", "x' \" & y"])
def test_any_text_comes_back_as_it_was(text: str) -> None:
    with new_figure(2, 1) as figure:
        figure.text(0.1, 0.5, text)
    root = ElementTree.fromstring(saved(figure, "svg"))
    assert [one.text for one in root.iter(f"{SVG}text")] == [text]
    assert not list(root.iter(f"{SVG}script"))
