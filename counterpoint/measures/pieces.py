"""Curves that jump: where, by how much, and what they are between the jumps.

A mixture of experts runs other experts from some α on, and the output curve jumps there. Between
two such places it is analytic. Here one curve on [0, 1] is taken apart into *pieces*, on which f
and g at nested Clenshaw-Curtis nodes fix a polynomial as they do on a curve without jumps, and
*gaps* between them, each so narrow that it is a place:

1.  Two neighbouring points that made different choices have a change between them. It is closed in
    upon: the margins of the choice on both sides say where it should be, and a point on either side
    of that place shows whether it is; else the gap is halved.
2.  A piece on which all points made the same choices is refined as any curve is. It is not believed
    as long as some margin, interpolated between the points, could have passed through zero.
3.  Where refinement does not end, choices or none, the worst stretch is halved by the curve alone
    until it is smooth or a place: that finds every other discontinuity.

A curve asks for points and gets them (it is a generator), so that many curves share batches. What
is found is exact but for the error that it states; a curve that needs more points than it may have
is returned as it is, with ``resolved`` false and an error that covers what may hide in it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int

from counterpoint.engine.rounding import Floor
from counterpoint.measures import quadrature

Array = np.ndarray

FIRST_LEVEL = 3
LAST_LEVEL = 17
HERMITE_UP_TO = 9
"""The most nodes for which g may be read from the Hermite interpolant.

Its derivative multiplies the rounding of f by at most 7, 23 and 87 at 3, 5 and 9 nodes, but by more
than 300 at 17; from there on g is interpolated from its own exact values."""

HERMITE_AMPLIFIES = {3: 7.0, 5: 23.0, 9: 87.0}
"""By how much the derivative of the Hermite interpolant multiplies the rounding of f, at most."""

TAIL_FACTOR = 3.0
"""Error of an interpolant over the size of its last two coefficients, at most: on SmolLM2 the
largest ratio seen among 270 heads was 2.9."""

SLOWEST = 0.9
"""The slowest decay of coefficients that an estimate of the error reckons with."""

SLOPE_TOLERANCE = 1e-3
"""Tolerance of g, absolute and relative to its largest value."""

TURN = 2.0
"""Error of f at kinks over the largest turn between points times their distance, at most; and"""

TURNS = 8.0
"""error of g over the largest turn.

Of 680 curves of tiny models with ReLU, squared ReLU and clamps, 301 points each, f reached 0.9 of
its error, with 1.5 here. g kept to its own in all but 6 of the 477 that were resolved: near a kink
it is that of one side."""

_BETWEEN = (np.arange(32) + 0.5) / 32
"""Where margins are looked at between the points of a piece."""

NARROW = 4
"""A stretch of so many places is not told apart from one."""

DOUBT = 0.5
"""A margin below this share of what the last refinement changed in it might be zero."""

SLACK = 1e-4
"""So might one whose least value is below this share of its changes: what rounding leaves of it."""

ASKED = 3
"""So many of the most doubtful places are looked at."""


@dataclass(frozen=True, eq=False)
class Points:
    """What was measured at some α of one curve."""

    value: Float[Array, " point"]
    slope: Float[Array, "point channel"]
    """g, as the sum of its channels: one for a head, one per head for a path of many."""
    scale: Float[Array, " point"]
    """What rounding of g is relative to (`measures.slopes`); 0 where no slope was asked for."""
    chosen: Int[Array, "point place"]
    margin: Float[Array, "point place"]

    def __getitem__(self, which: Int[Array, " some"] | slice) -> Points:
        return Points(*(getattr(self, name)[which] for name in _OF_POINTS))


_OF_POINTS = tuple(field.name for field in fields(Points))


@dataclass(frozen=True)
class Settings:
    """When a curve is resolved, and how much may be asked of it."""

    tolerance: float
    """Error of f allowed on a piece."""
    floor: Floor
    resolution: float
    """A gap of this width is a place."""
    budget: int
    """Points that one curve may have; the piece that is being looked at is still ended."""
    kinks: bool = False
    """Whether g may jump where nothing is chosen (`counterpoint.engine.kinks`)."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch [start, stop] of a curve without a jump, as series in (α − start) / width."""

    start: float
    stop: float
    f: Float[Array, " coefficient"]
    g: Float[Array, " coefficient_"]
    """dα derivative, already divided by the width."""
    own: Float[Array, " channel"]
    """∫ of each channel of g over the piece, from g alone."""
    error: float
    slope_error: float


@dataclass(frozen=True, eq=False)
class Curve:
    """A whole curve: pieces in order, and the gap after each but the last."""

    pieces: list[Piece]
    jumps: Float[Array, " gap"]
    """f on the right of each gap less f on its left, less what the slopes account for."""
    between: Float[Array, "gap channel"]
    """∫ of each channel of g over each gap."""
    bent: Float[Array, " gap"]
    """What a change of slope within each gap may do to its jump: all that a kink shows of one."""
    evaluations: int
    resolved: bool
    error: float
    slope_error: float
    rounding: float

    @property
    def places(self) -> Float[Array, " gap"]:
        """Where the gaps are."""
        left = [piece.stop for piece in self.pieces[:-1]]
        right = [piece.start for piece in self.pieces[1:]]
        return (np.array(left) + np.array(right)) / 2

    @property
    def own(self) -> Float[Array, " channel"]:
        """∫ of each channel of g over [0, 1], from g alone."""
        return np.sum([piece.own for piece in self.pieces], axis=0) + self.between.sum(0)


Request = tuple[Float[Array, " point"], bool]
"""Points of a curve that are wanted, and whether with slopes."""
Tracing = Generator[Request, Points, Curve]
Evaluate = Callable[[Int[Array, " point"], Float[Array, " point"], bool], Points]
"""Points at (curve, α), with slopes or with slopes that are not numbers."""


def trace(count: int, evaluate: Evaluate, settings: Sequence[Settings]) -> list[Curve]:
    """Trace ``count`` curves side by side; what they want next is evaluated together."""
    tracings = [_Tracer(own).curve() for own in settings]
    wanted = {number: next(tracing) for number, tracing in enumerate(tracings)}
    done: dict[int, Curve] = {}
    while wanted:
        for sloped in (True, False):
            asked = {n: alphas for n, (alphas, slopes) in wanted.items() if slopes is sloped}
            if not asked:
                continue
            curve = np.repeat(list(asked), [len(alphas) for alphas in asked.values()])
            found = evaluate(curve, np.concatenate(list(asked.values())), sloped)
            stop = 0
            for number, alphas in asked.items():
                start, stop = stop, stop + len(alphas)
                try:
                    wanted[number] = tracings[number].send(found[slice(start, stop)])
                except StopIteration as finished:
                    done[number] = finished.value
                    del wanted[number]
    return [done[number] for number in range(count)]


@dataclass(eq=False)
class _Stretch:
    """A stretch with points, ends included; ``nested`` where they are nodes of one level."""

    alphas: Float[Array, " point"]
    points: Points
    nested: bool = True

    @property
    def width(self) -> float:
        return float(self.alphas[-1] - self.alphas[0])


@dataclass(eq=False)
class _Tracer:
    settings: Settings
    used: int = 0
    scale: float = 0.0
    """The largest scale of g seen so far."""
    pieces: list[Piece] = field(default_factory=list)
    ends: dict[float, tuple[float, Array]] = field(default_factory=dict)
    """f and g at the ends of the pieces, by α."""
    resolved: bool = True
    hidden: float = 0.0
    """What may hide in what could not be resolved."""

    def curve(self) -> Tracing:
        waiting = [(0.0, 1.0)]
        while waiting:
            start, stop = waiting.pop()
            stretch = yield from self._sample(start, stop)
            waiting += reversed((yield from self._piece(stretch)))
        return self._whole()

    # -- one stretch ------------------------------------------------------------------------------

    def _ask(self, alphas: Array, slopes: bool) -> Generator[Request, Points, Points]:
        self.used += len(alphas)
        points = yield alphas, slopes
        self.scale = max(self.scale, float(points.scale.max()))
        return points

    @property
    def _rounding(self) -> float:
        """How far rounding may move f on this curve."""
        return float(self.settings.floor.output + self.settings.floor.per_scale * self.scale)

    @property
    def _tolerance(self) -> float:
        """No tolerance below the floor can be reached, and none is asked."""
        return max(self.settings.tolerance, 2 * self._rounding)

    def _sample(self, start: float, stop: float) -> Generator[Request, Points, _Stretch]:
        alphas = start + (stop - start) * quadrature.clenshaw_curtis(FIRST_LEVEL)
        # Rounding must not move an end: pieces are told from gaps by it.
        alphas[-1] = stop
        return _Stretch(alphas, (yield from self._ask(alphas, True)))

    def _piece(self, stretch: _Stretch) -> Generator[Request, Points, list[tuple[float, float]]]:
        """Make a piece of the stretch, or say into which stretches it falls apart."""
        settings, looked = self.settings, False
        while True:
            alphas, points = stretch.alphas, stretch.points
            changes = np.flatnonzero((points.chosen[1:] != points.chosen[:-1]).any(1))
            short = self.used >= settings.budget
            if len(changes) and not short:
                return (yield from self._fall_apart(stretch, changes))
            piece, within = self._resolve(stretch)
            narrow = stretch.width <= NARROW * settings.resolution
            if narrow or short:
                if len(changes) or not within:
                    self._unresolved(stretch, narrow)
                self._add(stretch, piece)
                return []
            doubtful = np.empty(0) if looked else self._doubtful(stretch)
            if within and not len(doubtful):
                self._add(stretch, piece)
                return []
            if len(alphas) < LAST_LEVEL and not (within and len(alphas) >= HERMITE_UP_TO):
                stretch = yield from self._refined(stretch)
            elif within:
                # The points would have to be many; look where the margins are least instead.
                looked = True
                asked = yield from self._ask(doubtful, False)
                other = (asked.chosen != points.chosen[0]).any(1)
                if other.any():
                    place = float(doubtful[other.argmax()])
                    return [(float(alphas[0]), place), (place, float(alphas[-1]))]
            else:
                return (yield from self._halve_worst(stretch))

    def _refined(self, stretch: _Stretch) -> Generator[Request, Points, _Stretch]:
        count = 2 * len(stretch.alphas) - 1
        start = stretch.alphas[0]
        alphas = start + stretch.width * quadrature.clenshaw_curtis(count)
        alphas[::2] = stretch.alphas
        new = yield from self._ask(alphas[1::2], True)
        return _Stretch(alphas, _interleaved(stretch.points, new))

    def _resolve(self, stretch: _Stretch) -> tuple[Piece, bool]:
        """The piece through the points, and whether it is within tolerance; as in `curves`."""
        width, settings = stretch.width, self.settings
        level = quadrature.clenshaw_curtis(len(stretch.alphas))
        value, slope = stretch.points.value[None], stretch.points.slope.T * width
        total = slope.sum(0)[None]
        by_channel = quadrature.interpolate(level, slope)
        own = quadrature.integral(by_channel)
        coarse = quadrature.integral(quadrature.interpolate(level[::2], slope[:, ::2]))
        # One channel is judged by the whole; of many, each has to have come to rest.
        moved = np.abs(own - coarse).max() if len(own) > 1 else 0.0
        missed = abs(float(own.sum() - (value[0, -1] - value[0, 0])))
        tolerance, rounding = self._tolerance, self._rounding
        # From values alone an interpolant is off by up to twice what its series leaves out; but g
        # then rounds as its values do, however short the piece is.
        f, g = quadrature.interpolate(level, value), by_channel.sum(0)[None]
        stated = 2 * _left_out(f), 2 * _left_out(g)
        if len(level) <= HERMITE_UP_TO:
            f = quadrature.interpolate_with_slopes(level, value, total)
            derived = quadrature.derivative(f)
            turning = max(_left_out(derived), HERMITE_AMPLIFIES[len(level)] * rounding)
            if turning < stated[1]:
                g = derived
            stated = _left_out(f), min(turning, stated[1])
        error = TAIL_FACTOR * float(quadrature.tail(f)[0])
        slope_error = TAIL_FACTOR * float(quadrature.tail(g)[0])
        if settings.kinks:
            bend, turn = _missed_between(level, value, total)
            error, slope_error = max(error, bend), max(slope_error, 2 * turn)
            stated = max(stated[0], bend), max(stated[1], TURNS * turn)
        steepest = np.abs(total).max()
        # The slope of a short piece is known less well: what rounding does to f over its width.
        allowed = SLOPE_TOLERANCE * (width + steepest) + 2 * rounding
        within = bool(
            error + rounding <= tolerance
            and slope_error <= allowed
            and missed <= tolerance / 2
            and moved <= tolerance
            and not (settings.kinks and len(level) == FIRST_LEVEL)
        )
        piece = Piece(
            float(stretch.alphas[0]),
            float(stretch.alphas[-1]),
            f[0],
            g[0] / width,
            own,
            stated[0],
            stated[1] / width,
        )
        return piece, within

    def _doubtful(self, stretch: _Stretch) -> Float[Array, " alpha"]:
        """Where a margin might have passed through zero, between points that chose alike."""
        margin = stretch.points.margin
        margin = margin[:, np.isfinite(margin).all(0)]
        if not margin.size:
            return np.empty(0)
        level = quadrature.clenshaw_curtis(len(margin))
        fine = quadrature.evaluate(quadrature.interpolate(level, margin.T), _BETWEEN)
        coarse = quadrature.evaluate(quadrature.interpolate(level[::2], margin[::2].T), _BETWEEN)
        row, unsure = np.arange(len(fine)), DOUBT * np.abs(fine - coarse)
        place = (fine - unsure).argmin(1)
        # A visit may be much shorter than the steps here: look at the vertex of a parabola.
        inner = (place > 0) & (place < len(_BETWEEN) - 1)
        middle = np.clip(place, 1, len(_BETWEEN) - 2)
        before, top, after = (fine[row, middle + step] for step in (-1, 0, 1))
        bend = before - 2 * top + after
        inner &= bend > 0
        bend = np.where(inner, bend, 1.0)
        aside = np.where(inner, (before - after) / (2 * bend), 0.0)
        least = fine[row, place] - np.where(inner, (before - after) ** 2 / (8 * bend), 0.0)
        least -= unsure[row, place] + np.where(inner, SLACK * np.ptp(margin, axis=0), 0.0)
        worst = np.argsort(least)[:ASKED]
        worst = worst[least[worst] < 0]
        at = np.clip(_BETWEEN[place[worst]] + aside[worst] / len(_BETWEEN), 0, 1)
        return stretch.alphas[0] + stretch.width * np.unique(at)

    def _add(self, stretch: _Stretch, piece: Piece) -> None:
        points = stretch.points
        for end in (0, -1):
            self.ends[float(stretch.alphas[end])] = (
                float(points.value[end]),
                points.slope[end],
            )
        self.pieces.append(piece)

    def _unresolved(self, stretch: _Stretch, narrow: bool) -> None:
        """Note what may hide in a stretch that is kept as it is."""
        if narrow:
            # Too narrow to be told apart from a place: its ends are what the curve is.
            return
        self.resolved = False
        self.hidden = max(self.hidden, float(np.ptp(stretch.points.value)))

    # -- closing in upon changes ----------------------------------------------------------------

    def _fall_apart(
        self, stretch: _Stretch, changes: Int[Array, " change"]
    ) -> Generator[Request, Points, list[tuple[float, float]]]:
        """Close in upon every change of choice; what is left between them."""
        gaps: list[tuple[float, float]] = []
        for change in changes:
            pair = np.array([change, change + 1])
            gaps += yield from self._close_in(stretch.alphas[pair], stretch.points[pair])
        gaps.sort()
        bounds = [float(stretch.alphas[0]), *(end for gap in gaps for end in gap)]
        bounds.append(float(stretch.alphas[-1]))
        return [
            (start, stop)
            for start, stop in zip(bounds[::2], bounds[1::2], strict=True)
            if stop > start
        ]

    def _close_in(
        self, alphas: Array, points: Points
    ) -> Generator[Request, Points, list[tuple[float, float]]]:
        """Gaps no wider than a place that hold the changes of choice between two points."""
        waiting, gaps = [(alphas, points, True)], []
        while waiting:
            ends, at, predict = waiting.pop()
            width = float(ends[1] - ends[0])
            if width <= self.settings.resolution or self.used >= self.settings.budget:
                if width > self.settings.resolution:
                    self.resolved = False
                    self.hidden = max(self.hidden, abs(float(at.value[1] - at.value[0])))
                gaps.append((float(ends[0]), float(ends[1])))
                continue
            asked = _predicted(ends, at, self.settings.resolution) if predict else None
            predicted = asked is not None
            if asked is None:
                asked = np.array([ends.mean()])
            new = yield from self._ask(asked, False)
            alphas = np.concatenate([ends[:1], asked, ends[1:]])
            points = _joined(at[slice(0, 1)], new, at[slice(1, 2)])
            for left in range(len(alphas) - 1):
                pair = np.array([left, left + 1])
                if (points.chosen[left] != points.chosen[left + 1]).any():
                    # A prediction that went wrong is not asked for a second time at once.
                    hit = not predicted or left == 1
                    waiting.append((alphas[pair], points[pair], hit))
        return gaps

    def _halve_worst(
        self, stretch: _Stretch
    ) -> Generator[Request, Points, list[tuple[float, float]]]:
        """Halve, by the curve alone, the worst step between points, until smooth or a place."""
        alphas, points = stretch.alphas, stretch.points
        start, stop = float(alphas[0]), float(alphas[-1])
        kinks = self.settings.kinks

        def doubt(alphas: Array, points: Points) -> Float[Array, " step"]:
            turned = np.abs(np.diff(points.slope.sum(1))) * np.diff(alphas) if kinks else 0.0
            return _unexplained(alphas, points) + turned

        worst = int(np.argmax(doubt(alphas, points)))
        pair = np.array([worst, worst + 1])
        ends, at = alphas[pair], points[pair]
        enough = self._tolerance / 8
        while (
            ends[1] - ends[0] > self.settings.resolution
            and (_unexplained(ends, at)[0] > enough or (kinks and _turns(at)))
            and self.used < self.settings.budget
        ):
            middle = np.array([ends.mean()])
            new = yield from self._ask(middle, True)
            three = np.concatenate([ends[:1], middle, ends[1:]])
            joined = _joined(at[slice(0, 1)], new, at[slice(1, 2)])
            worst = int(np.argmax(doubt(three, joined)))
            pair = np.array([worst, worst + 1])
            ends, at = three[pair], joined[pair]
        left, right = float(ends[0]), float(ends[1])
        if right - left > self.settings.resolution:
            # Smooth after all, or a kink: no gap, and two stretches that are easier than one.
            middle_of = (left + right) / 2
            left = right = middle_of
        return [(a, b) for a, b in ((start, left), (right, stop)) if b > a]

    def _slope_rounding(self) -> float:
        return float(self.settings.floor.of_slope(np.array([self.scale]))[0])

    # -- the end --------------------------------------------------------------------------------

    def _told_apart(self, pieces: list[Piece]) -> list[Piece]:
        """Without pieces between two gaps that are no wider than a place: where two scores are
        equal up to rounding, which is chosen changes to and fro with it."""
        first, *inner, last = pieces if len(pieces) > 1 else (pieces[0], pieces[0])
        wide = [one for one in inner if one.stop - one.start > NARROW * self.settings.resolution]
        return [first, *wide, last] if len(pieces) > 1 else pieces

    def _whole(self) -> Curve:
        pieces = self._told_apart(sorted(self.pieces, key=lambda piece: piece.start))
        channels = len(pieces[0].own)
        jumps, between, bent, inside = [], [], [], 0.0
        for before, after in pairwise(pieces):
            width = after.start - before.stop
            left, left_slope = self.ends[before.stop]
            right, right_slope = self.ends[after.start]
            passed = width * (left_slope + right_slope) / 2 if width else np.zeros(channels)
            between.append(passed)
            bent.append(width * abs(float((right_slope - left_slope).sum())))
            inside = max(inside, width * max(abs(left_slope.sum()), abs(right_slope.sum())))
            jumps.append(right - left - float(passed.sum()) if width else 0.0)
        largest = max(map(abs, jumps), default=0.0)
        error = max(piece.error for piece in pieces) + float(inside)
        if not self.resolved:
            error += self.hidden + 2 * largest
        return Curve(
            pieces,
            np.array(jumps),
            np.array(between).reshape(-1, channels),
            np.array(bent),
            self.used,
            self.resolved,
            error + self._rounding,
            max(piece.slope_error for piece in pieces) + self._slope_rounding(),
            self._rounding,
        )


def _interleaved(old: Points, new: Points) -> Points:
    order = np.argsort(np.concatenate([np.arange(len(old.value)), np.arange(len(new.value)) + 0.5]))
    return _joined(old, new)[order]


def _joined(*parts: Points) -> Points:
    return Points(*(np.concatenate([getattr(part, name) for part in parts]) for name in _OF_POINTS))


def _missed_between(
    level: Float[Array, " node"],
    value: Float[Array, "one node"],
    slope: Float[Array, "one node"],
) -> tuple[float, float]:
    """Errors of f and g where there may be kinks, by what every other point does not foretell.

    A kink between two of those points turns the slope at the point between them away from what
    their interpolant has there, by half of the kink or more. The curve lies within the triangle of
    the tangents, so that f misses no more than a quarter of the turn times the step.
    """
    few = level[::2]
    if len(few) <= HERMITE_UP_TO:
        f = quadrature.interpolate_with_slopes(few, value[:, ::2], slope[:, ::2])
        g = quadrature.derivative(f)
    else:
        f = quadrature.interpolate(few, value[:, ::2])
        g = quadrature.interpolate(few, slope[:, ::2])
    between = level[1::2]
    bend = np.abs(quadrature.evaluate(f, between) - value[:, 1::2])[0]
    turn = np.abs(quadrature.evaluate(g, between) - slope[:, 1::2])[0]
    step = np.diff(few)
    return float((bend + TURN * step * turn).max()), float(turn.max())


def _left_out(series: Float[Array, "one coefficient"]) -> float:
    """What a series leaves out of the curve that it was made of, at most."""
    return TAIL_FACTOR * float((quadrature.tail(series) * slow_decay(series))[0])


def _predicted(
    ends: Float[Array, " two"], points: Points, resolution: float
) -> Float[Array, " two"] | None:
    """Two points on either side of where the margins say that the first change is.

    Among the places that chose otherwise the lowest in the model are asked: what they choose from
    does not jump, so that their margin goes to zero along a line. None where that says nothing.
    """
    changed = np.flatnonzero(points.chosen[0] != points.chosen[1])
    margin = points.margin[:, changed[:1]].astype(float)
    total = margin.sum(0)
    if not (np.isfinite(total).all() and total[0] > 0):
        return None
    width = float(ends[1] - ends[0])
    place = ends[0] + width * float(margin[0, 0] / total[0])
    aside = max(0.45 * resolution, width * min(0.1, width))
    asked = np.array([place - aside, place + aside])
    inside = (asked > ends[0]) & (asked < ends[1])
    return asked[inside] if inside.all() else None


def _turns(two: Points) -> bool:
    """Whether the slopes of two points differ by more than is left of a kink."""
    slope = two.slope.sum(1)
    return bool(abs(slope[1] - slope[0]) > SLOPE_TOLERANCE / 4 * (1 + np.abs(slope).max()))


def _unexplained(alphas: Array, points: Points) -> Float[Array, " step"]:
    """|change of f less what the slopes at both ends account for| of each step."""
    slope = points.slope.sum(1)
    steps = np.diff(alphas) * (slope[1:] + slope[:-1]) / 2
    found = np.abs(np.diff(points.value) - steps)
    return np.where(np.isnan(found), 0.0, found)


def slow_decay(series: Float[Array, "curve coefficient"]) -> Float[Array, " curve"]:
    """By how much a tail that decays slowly outweighs what `TAIL_FACTOR` makes of it; 1 or more.

    Where pairs of coefficients shrink by r, those that are left out sum to r / (1 − r) of the last.
    """
    if series.shape[1] < 4:
        return np.ones(len(series))
    last, before = quadrature.tail(series), quadrature.tail(series[:, :-2])
    ratio = np.clip(last / np.where(before > 0, before, 1.0), 0.0, SLOWEST)
    return np.maximum(1.0, ratio / (1 - ratio) / TAIL_FACTOR)


def value_at(curve: Curve, alphas: Float[Array, " alpha"]) -> Float[Array, " alpha"]:
    """f at each α; in a gap the nearer end of a piece."""
    return _at(curve, alphas, "f")


def slope_at(curve: Curve, alphas: Float[Array, " alpha"]) -> Float[Array, " alpha"]:
    """g at each α; in a gap the nearer end of a piece."""
    return _at(curve, alphas, "g")


def _at(curve: Curve, alphas: Array, name: str) -> Array:
    owner = np.searchsorted(curve.places, alphas)
    found = np.empty(len(alphas))
    for number in np.unique(owner):
        piece, here = curve.pieces[number], owner == number
        inside = (alphas[here] - piece.start) / (piece.stop - piece.start)
        series = getattr(piece, name)[None]
        found[here] = quadrature.evaluate(series, np.clip(inside, 0, 1))[0]
    return found


def is_jump(curve: Curve) -> Bool[Array, " gap"]:
    """Which gaps are jumps: those that rounding and a kink do not account for."""
    return np.abs(curve.jumps) > 2 * curve.rounding + curve.bent
