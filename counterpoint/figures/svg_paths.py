"""Paths of an SVG: read as matplotlib writes them, thinned, and said in few letters."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

TOLERANCE = 0.1
"""How far a point of a line may be from what is drawn without it, in points."""

Point = tuple[float, float]
Command = tuple[str, tuple[Point, ...]]
"""M, L, C, Q or Z with absolute places; O, a circle, with its middle and its rightmost point."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


class UnknownDrawing(Exception):
    """A drawing that is not as matplotlib writes them."""


_PLACES = {"M": 1, "L": 1, "Q": 2, "C": 3, "Z": 0}


def commands(d: str) -> list[Command]:
    """Return a path's commands; raises UnknownDrawing for such as matplotlib does not write."""
    tokens = re.findall(r"[A-Za-z]|-?[\d.]+(?:e-?\d+)?", d)
    found: list[Command] = []
    place = 0
    while place < len(tokens):
        name = tokens[place].upper()
        if name not in _PLACES or (tokens[place] != name and name != "Z"):
            raise UnknownDrawing(name)
        numbers = [float(one) for one in tokens[place + 1 : place + 1 + 2 * _PLACES[name]]]
        found.append((name, tuple(zip(numbers[::2], numbers[1::2], strict=True))))
        place += 1 + len(numbers)
    return found


def box_of(path: Sequence[Command], around: float = 0.0) -> Box:
    """Return the box of a path's points, with so much room ``around`` it."""
    points = [point for name, points in path if name != "O" for point in points]
    for name, ends in path:
        if name == "O":
            (x, y), (right, _) = ends
            points += [(2 * x - right, y - (right - x)), (right, y + (right - x))]
    across, down = [x for x, _ in points], [y for _, y in points]
    return min(across) - around, min(down) - around, max(across) + around, max(down) + around


def within(box: Box, frame: Box) -> bool:
    """Whether a box lies in another."""
    return box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes have a place in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def thinned(path: list[Command]) -> list[Command]:
    """A path of one straight-edged stroke without the points that it does not need."""
    closed = bool(path) and path[-1][0] == "Z"
    inner = path[:-1] if closed else path
    if len(inner) < 4 or "".join(name for name, _ in inner) != "M" + "L" * (len(inner) - 1):
        return path
    kept = _needed([points[0] for _, points in inner])
    return [
        *(("L" if place else "M", (point,)) for place, point in enumerate(kept)),
        *(path[len(inner) :]),
    ]


def _needed(points: list[Point]) -> list[Point]:
    """The points of a line that `TOLERANCE` asks for (Ramer, Douglas and Peucker's rule)."""
    keep = {0, len(points) - 1}
    waiting = [(0, len(points) - 1)]
    while waiting:
        first, last = waiting.pop()
        far, place = TOLERANCE, 0
        for one in range(first + 1, last):
            distance = _distance(points[one], points[first], points[last])
            if distance > far:
                far, place = distance, one
        if place:
            keep.add(place)
            waiting += [(first, place), (place, last)]
    return [points[place] for place in sorted(keep)]


def _distance(point: Point, start: Point, end: Point) -> float:
    """From a point to a straight line between two ends."""
    along = (end[0] - start[0], end[1] - start[1])
    length = along[0] ** 2 + along[1] ** 2
    share = 0.0
    if length:
        share = ((point[0] - start[0]) * along[0] + (point[1] - start[1]) * along[1]) / length
        share = min(1.0, max(0.0, share))
    return math.dist(point, (start[0] + share * along[0], start[1] + share * along[1]))


def short(tenths: int) -> str:
    """A number of tenths without what can be left out: 12, -.5, 3.2."""
    whole, rest = divmod(abs(tenths), 10)
    text = f"{whole or ('' if rest else 0)}{f'.{rest}' if rest else ''}"
    return f"-{text}" if tenths < 0 else text


def _packed(tokens: Sequence[str]) -> str:
    """Letters and numbers one after another, with a space only where two would run together."""
    text = before = ""
    for token in tokens:
        number = not token.isalpha()
        apart = before.isalpha() or token[0] == "-" or (token[0] == "." and "." in before)
        text += f" {token}" if number and before and not apart else token
        before = token
    return text


def path_text(path: Sequence[Command]) -> str:
    """A path's text, places in tenths relative to the one before."""
    tokens: list[str] = []
    last = ""
    x = y = start_x = start_y = 0
    for name, points in path:
        ends = [(round(10 * a), round(10 * b)) for a, b in points]
        if name == "O":
            tokens += _circle(*ends)
            last = "z"
            continue
        steps = [step for a, b in ends for step in (a - x, b - y)]
        letter = name.lower()
        if name == "M":
            letter, steps = "M", list(ends[0])
            start_x, start_y = ends[0]
        elif name == "L" and not any(steps) and last != "M":
            continue
        elif name == "L" and not steps[1]:
            letter, steps = "h", steps[:1]
        elif name == "L" and not steps[0]:
            letter, steps = "v", steps[1:]
        if letter != last or letter == "M":
            tokens.append(letter)
        tokens += map(short, steps)
        last = letter
        x, y = ends[-1] if ends else (start_x, start_y)
    return _packed(tokens)


def _circle(middle: tuple[int, int], right: tuple[int, int]) -> list[str]:
    """A circle as two arcs."""
    radius = right[0] - middle[0]
    arcs = [(radius, radius, 0, 10, 0, step, 0) for step in (-2 * radius, 2 * radius)]
    return ["M", *map(short, right), "a", *(short(one) for arc in arcs for one in arc), "z"]
