"""Tracing curves that jump: where, by how much, and what they are between the jumps.

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
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from counterpoint.measures import quadrature
from counterpoint.measures.change_detection import (
    doubtful_places,
    predict_change,
    turns,
    unexplained,
)
from counterpoint.measures.interpolation_errors import (
    HERMITE_AMPLIFIES,
    HERMITE_UP_TO,
    SLOPE_TOLERANCE,
    TAIL_FACTOR,
    TURNS,
    left_out,
    missed_between,
)
from counterpoint.measures.piecewise_curves import (
    Array,
    Curve,
    Piece,
    Points,
    Settings,
    Stretch,
    interleave,
    join,
)

FIRST_LEVEL = 3
LAST_LEVEL = 17

NARROW = 4
"""A stretch of so many places is not told apart from one."""

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

    def _sample(self, start: float, stop: float) -> Generator[Request, Points, Stretch]:
        alphas = start + (stop - start) * quadrature.clenshaw_curtis(FIRST_LEVEL)
        # Rounding must not move an end: pieces are told from gaps by it.
        alphas[-1] = stop
        return Stretch(alphas, (yield from self._ask(alphas, True)))

    def _piece(self, stretch: Stretch) -> Generator[Request, Points, list[tuple[float, float]]]:
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
            doubtful = np.empty(0) if looked else doubtful_places(stretch)
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

    def _refined(self, stretch: Stretch) -> Generator[Request, Points, Stretch]:
        count = 2 * len(stretch.alphas) - 1
        start = stretch.alphas[0]
        alphas = start + stretch.width * quadrature.clenshaw_curtis(count)
        alphas[::2] = stretch.alphas
        new = yield from self._ask(alphas[1::2], True)
        return Stretch(alphas, interleave(stretch.points, new))

    def _resolve(self, stretch: Stretch) -> tuple[Piece, bool]:
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
        stated = 2 * left_out(f), 2 * left_out(g)
        if len(level) <= HERMITE_UP_TO:
            f = quadrature.interpolate_with_slopes(level, value, total)
            derived = quadrature.derivative(f)
            turning = max(left_out(derived), HERMITE_AMPLIFIES[len(level)] * rounding)
            if turning < stated[1]:
                g = derived
            stated = left_out(f), min(turning, stated[1])
        error = TAIL_FACTOR * float(quadrature.tail(f)[0])
        slope_error = TAIL_FACTOR * float(quadrature.tail(g)[0])
        if settings.kinks:
            bend, turn = missed_between(level, value, total)
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

    def _add(self, stretch: Stretch, piece: Piece) -> None:
        points = stretch.points
        for end in (0, -1):
            self.ends[float(stretch.alphas[end])] = (
                float(points.value[end]),
                points.slope[end],
            )
        self.pieces.append(piece)

    def _unresolved(self, stretch: Stretch, narrow: bool) -> None:
        """Note what may hide in a stretch that is kept as it is."""
        if narrow:
            # Too narrow to be told apart from a place: its ends are what the curve is.
            return
        self.resolved = False
        self.hidden = max(self.hidden, float(np.ptp(stretch.points.value)))

    # -- closing in upon changes ----------------------------------------------------------------

    def _fall_apart(
        self, stretch: Stretch, changes: Int[Array, " change"]
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
            asked = predict_change(ends, at, self.settings.resolution) if predict else None
            predicted = asked is not None
            if asked is None:
                asked = np.array([ends.mean()])
            new = yield from self._ask(asked, False)
            alphas = np.concatenate([ends[:1], asked, ends[1:]])
            points = join(at[slice(0, 1)], new, at[slice(1, 2)])
            for left in range(len(alphas) - 1):
                pair = np.array([left, left + 1])
                if (points.chosen[left] != points.chosen[left + 1]).any():
                    # A prediction that went wrong is not asked for a second time at once.
                    hit = not predicted or left == 1
                    waiting.append((alphas[pair], points[pair], hit))
        return gaps

    def _halve_worst(
        self, stretch: Stretch
    ) -> Generator[Request, Points, list[tuple[float, float]]]:
        """Halve, by the curve alone, the worst step between points, until smooth or a place."""
        alphas, points = stretch.alphas, stretch.points
        start, stop = float(alphas[0]), float(alphas[-1])
        kinks = self.settings.kinks

        def doubt(alphas: Array, points: Points) -> Float[Array, " step"]:
            turned = np.abs(np.diff(points.slope.sum(1))) * np.diff(alphas) if kinks else 0.0
            return unexplained(alphas, points) + turned

        worst = int(np.argmax(doubt(alphas, points)))
        pair = np.array([worst, worst + 1])
        ends, at = alphas[pair], points[pair]
        enough = self._tolerance / 8
        while (
            ends[1] - ends[0] > self.settings.resolution
            and (unexplained(ends, at)[0] > enough or (kinks and turns(at)))
            and self.used < self.settings.budget
        ):
            middle = np.array([ends.mean()])
            new = yield from self._ask(middle, True)
            three = np.concatenate([ends[:1], middle, ends[1:]])
            joined = join(at[slice(0, 1)], new, at[slice(1, 2)])
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
