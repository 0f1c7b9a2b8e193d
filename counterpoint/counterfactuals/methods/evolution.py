"""`evolution`: a population of continuous pairs under NSGA-III, in the manner of the original
notebook.

An individual is a pair of continuous prompts. It is judged by the pair of discrete prompts that
it projects to (the nearest tokens, as in PEZ), on the four objectives, exactly. A child is a
parent moved against the gradient of the LD change, taken at the parent's projection, plus seeded
noise; its behavioural descriptor is its projected tokens, and a child that behaves as another
does is drawn anew. NSGA-III (Deb & Jain 2014; pymoo, through ask and tell) selects from parents
and children together, so that children replace the worst. The search stops at an LD change of
`EvolutionSettings.enough` or when the budget is spent.

pymoo's NSGA-III loses its seed where constraints are violated, so there are none: a pair that may
not be kept gets the `WORST` objectives. A child costs at most 12 evaluations: 6 for the gradient
at its parent, shared by the children of one parent, and 6 for its own values.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.counterfactuals.hypervolume import REFERENCE
from counterpoint.counterfactuals.methods.continuous_pairs import Relaxation
from counterpoint.counterfactuals.methods.descent import median_distance, movable, project, writable
from counterpoint.counterfactuals.methods.method import Setup
from counterpoint.counterfactuals.methods.method_settings import EvolutionSettings
from counterpoint.counterfactuals.problem import State

WORST = (-REFERENCE[0], -REFERENCE[1], REFERENCE[2], REFERENCE[3])
"""Objectives, all to be made small, of a pair that may not be kept."""

TRIES = 20
"""Times that a child which behaves as another does is drawn anew."""


class Evolution:
    """One search (`method.SearchRun`), from the first start's first prompt, as x and as y."""

    def __init__(self, setup: Setup) -> None:
        from pymoo.algorithms.moo.nsga3 import NSGA3
        from pymoo.core.problem import Problem
        from pymoo.core.termination import NoTermination

        self.evaluator, self.archive = setup.evaluator, setup.archive
        self.own = own = setup.own(EvolutionSettings)
        evaluator, self.generator = setup.evaluator, setup.generator
        clean, _ = setup.starts[0]
        self.origin = origin = torch.tensor([clean, clean], device=evaluator.model.device)
        self.relaxed = Relaxation(evaluator)
        self.scale = median_distance(self.relaxed.table, evaluator.vocabulary.allowed)
        self.start = self.relaxed.embed(origin)
        self.allowed = writable(evaluator, origin, [])
        self.free = movable(evaluator, origin)
        self.individuals: list[np.ndarray] = []
        self.objectives: list[np.ndarray] = []
        """Of every generation, from which pymoo's own state can be made anew."""
        self._again: np.ndarray | None = None
        """The children of a generation that is told again."""
        self._projected: dict[bytes, Tensor] = {}
        """What pairs were projected to: those of the population are asked for again and again."""
        seed = int(torch.randint(2**31, (1,), generator=self.generator))
        first = [self._moved(self.start, None) for _ in range(own.population)]
        self.algorithm = NSGA3(
            reference_directions(own.population),
            pop_size=own.population,
            n_offsprings=own.children,
            sampling=torch.stack(first).flatten(1).cpu().numpy(),
            mating=_mating(self),
            eliminate_duplicates=False,
            seed=seed,
        )
        self.algorithm.setup(
            Problem(n_var=self.start.numel(), n_obj=4), termination=NoTermination(), seed=seed
        )

    def step(self) -> bool:
        """One generation: ask, measure, tell."""
        individuals = self.algorithm.ask()
        self.individuals.append(individuals.get("X"))
        self.objectives.append(self._judge(self.individuals[-1]))
        individuals.set("F", self.objectives[-1])
        self.algorithm.tell(infills=individuals)
        return not any(pair.ld_change >= self.own.enough for pair in self.archive.pairs)

    def state(self) -> State:
        """As `method.SearchRun` has it: what pymoo asked about and what it was told."""
        return {
            "generations": len(self.individuals),
            "tensors": {
                f"{name}.{number}": torch.from_numpy(values)
                for name, generations in (
                    ("individuals", self.individuals),
                    ("objectives", self.objectives),
                )
                for number, values in enumerate(generations)
            },
        }

    def restore(self, state: State) -> None:
        """As `method.SearchRun` has it: tell pymoo all of it again."""
        tensors = state["tensors"]
        for number in range(state["generations"]):
            self._again = tensors[f"individuals.{number}"].numpy()
            individuals = self.algorithm.ask()
            self._again = None
            self.individuals.append(individuals.get("X"))
            self.objectives.append(tensors[f"objectives.{number}"].numpy())
            individuals.set("F", self.objectives[-1])
            self.algorithm.tell(infills=individuals)

    def offspring(self, population: Any, count: int) -> Float[np.ndarray, "child variable"]:
        """Children of random parents, each with tokens that no other has."""
        if self._again is not None:
            return self._again
        pairs = self._pairs(population.get("X"))
        living = {pair.cpu().numpy().tobytes() for pair in pairs}
        self._projected = {key: to for key, to in self._projected.items() if key in living}
        taken = {tuple(self.project(pair).flatten().tolist()) for pair in pairs}
        parents = torch.randint(len(pairs), (count,), generator=self.generator).tolist()
        different = list(dict.fromkeys(parents))
        slopes = self.relaxed.slopes(torch.stack([self.project(pairs[one]) for one in different]))
        slope_of = dict(zip(different, slopes, strict=True))
        children: list[Tensor] = []
        for parent in parents:
            # With little noise most children behave as their parents do; the tries are bounded.
            for _ in range(TRIES):
                child = self._moved(pairs[parent], slope_of[parent])
                behaviour = tuple(self.project(child).flatten().tolist())
                if behaviour not in taken:
                    taken.add(behaviour)
                    children.append(child)
                    break
        if not children:
            children = [self._moved(self.start, None)]
        return torch.stack(children).flatten(1).cpu().numpy()

    def project(self, pair: Float[Tensor, "2 length d_model"]) -> Int[Tensor, "2 length"]:
        """The nearest tokens; where nothing may be written, the start's own."""
        key = pair.cpu().numpy().tobytes()
        if key not in self._projected:
            self._projected[key] = project(self.relaxed, pair, self.origin, self.free, self.allowed)
        return self._projected[key]

    def _moved(self, pair: Tensor, gradient: Tensor | None) -> Tensor:
        """``pair`` moved up the gradient, and by noise."""
        noise = torch.randn(pair.shape, generator=self.generator).to(pair)
        move = self.own.noise * noise / pair.shape[-1] ** 0.5
        if gradient is not None:
            lengths = gradient.norm(dim=-1, keepdim=True).amax().clamp_min(1e-12)
            move = move + self.own.step * gradient / lengths
        return pair + self.free[..., None] * self.scale * move

    def _judge(self, individuals: Float[np.ndarray, "individual variable"]) -> np.ndarray:
        """Objectives of each individual, all to be made small."""
        tokens = torch.stack([self.project(pair) for pair in self._pairs(individuals)])
        judged: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[float, ...]] = {}
        for measured in self.evaluator.measure(tokens[:, 0], tokens[:, 1], origin=self.origin):
            found = self.evaluator.complete(measured)
            self.archive.add(found)
            for one in found:
                change, even, changed, surprise = one.objectives
                judged[one.clean, one.corrupted] = (-change, -even, changed, surprise)
        self.archive.note()
        return np.array(
            [judged.get((tuple(x), tuple(y)), WORST) for x, y in tokens.tolist()], dtype=float
        )

    def _pairs(self, individuals: np.ndarray) -> Float[Tensor, "individual 2 length d_model"]:
        return (
            torch.as_tensor(np.asarray(individuals), dtype=self.start.dtype)
            .to(self.start.device)
            .reshape(-1, *self.start.shape)
        )


def reference_directions(most: int) -> Float[np.ndarray, "direction 4"]:
    """The directions that NSGA-III keeps a population along: evenly over the simplex of the four
    objectives (Das & Dennis 1998), in as many steps as give no more than ``most``, at least one."""
    from pymoo.util.ref_dirs import get_reference_directions

    steps = 1
    while math.comb(steps + 1 + 3, 3) <= most:
        steps += 1
    directions: np.ndarray = get_reference_directions("das-dennis", 4, n_partitions=steps)
    return directions


def _mating(search: Evolution) -> Any:
    """pymoo's interface to `Evolution.offspring`."""
    from pymoo.core.infill import InfillCriterion
    from pymoo.core.population import Population

    class Mating(InfillCriterion):
        def do(self, problem: Any, pop: Any, n_offsprings: int, *args: Any, **kwargs: Any) -> Any:
            return Population.new(X=search.offspring(pop, n_offsprings))

    return Mating()
