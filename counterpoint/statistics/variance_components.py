"""Of what a head's AP varies: from template to template, from pair to pair, and the rest.

**One direction.** A head has one AP on each pair. Over the pairs p of the templates t

    AP_p = mean + template_t(p) + pair_p,

a random-intercept model, fitted by restricted maximum likelihood (statsmodels' `MixedLM`). Two
components are identified: the variance between templates and that between the pairs of one. What a
measurement repeated on the same pair would vary by cannot be told apart from the latter, and is
rounding alone.

**Both directions.** The two numbers of a pair, −AP in noising and AP in denoising, are the head's
effect in either background, towards the clean prompt's answer in both. Over the directions d

    effect_dp = mean_d + template_t(p) + pair_p + rest_dp:

the pair's variance is what the two directions share, and the rest is what they do not: the head's
partners differ with the background. A template's effect in one direction alone counts as rest. The
half-sum and the difference of the two numbers are independent under the model, so its restricted
likelihood is the product of two, and one random-intercept fit gives all three components; where the
pair's variance would come out below 0 it is 0, and the other two are fitted to all numbers.

Templates are not identified where each has one pair, nor where the pairs name none: template and
pair are then one component, `variance_pair`. The permutation p-value of a head shuffles which pair
is of which template; its statistic is the spread of the templates' means (the F of one-way analysis
of variance, which such shuffles leave in the same order). With few templates a share is uncertain
even where p is small: 8 templates give a variance from 7 degrees of freedom.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from counterpoint.statistics import resampling
from counterpoint.statistics.false_discovery import false_discovery_rate
from counterpoint.statistics.panel import MOVEMENT, Panel, directions, panel
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.templates import labels

BOTH = "both"
"""In the place of a direction: the model of both."""

COLUMNS = (
    "direction",
    "layer",
    "head",
    "n_templates",
    "n_pairs",
    "mean",
    "variance_template",
    "variance_pair",
    "variance_rest",
    "share_template",
    "p_permutation",
    "p_adjusted",
    "note",
)

NEGLIGIBLE = 1e-5
"""A variance between templates below this share of that within is 0: the optimiser stops near the
edge of the parameter space, not on it."""

NO_TEMPLATES = "the pairs name no templates: template and pair are one component"
ONE_PAIR_EACH = "each template has one pair: template and pair are one component"
ONE_TEMPLATE = "all pairs are of one template"
BELOW_FLOOR = "below the floor on every pair"
CONSTANT = "the same on every pair"
TOO_FEW = "fewer than 3 pairs"
MINIMUM_PAIRS = 3
NOT_FITTED = "the mixed model could not be fitted"


@dataclass(frozen=True)
class Components:
    """Variances, in squared units of the metric; NaN for what is not identified."""

    template: float = np.nan
    pair: float = np.nan
    rest: float = np.nan
    note: str = ""


def variance_components(heads: pd.DataFrame, *, settings: Settings | None = None) -> pd.DataFrame:
    """`variance.csv`: one row per direction, layer and head, columns as in `COLUMNS`.

    ``heads`` has the columns ``pair, direction, layer, head, ap`` and, for the variance between
    templates, ``template`` (`templates.with_templates`). With both directions there is a third set
    of rows, ``both``. ``share_template`` is the template's part of the sum of what is identified.
    Where a number cannot be given it is NaN and ``note`` says why.

    Raises UserError for what is no table of heads.
    """
    settings = resampling.checked(settings)
    if MOVEMENT not in heads:
        # A table with AP alone: what is at the floor is not asked.
        heads = heads.assign(**{MOVEMENT: np.inf})
    panels = {name: panel(heads, name, ["ap"], settings.floor) for name in directions(heads)}
    parts = [
        _table(name, (_effects(data),), data, settings, _small(data))
        for name, data in panels.items()
    ]
    if len(panels) == 2:
        noising, denoising = panels["noising"], panels["denoising"]
        both = (-_effects(noising), _effects(denoising))
        small = _small(noising) & _small(denoising)
        parts.append(_table(BOTH, both, noising, settings, small))
    table = pd.concat(parts, ignore_index=True)
    table["p_adjusted"] = table.groupby("direction")["p_permutation"].transform(
        false_discovery_rate
    )
    return table[list(COLUMNS)]


def _effects(data: Panel) -> pd.DataFrame:
    """AP by pair and head."""
    names = pd.MultiIndex.from_arrays([data.layers, data.heads], names=["layer", "head"])
    return pd.DataFrame(data.columns["ap"], index=data.pairs, columns=names)


def _small(data: Panel) -> Bool[np.ndarray, " head"]:
    """Which heads are at the floor on every pair."""
    return np.asarray(data.at_floor.all(axis=0))


def _table(
    direction: str,
    effects: tuple[pd.DataFrame, ...],
    data: Panel,
    settings: Settings,
    small: Bool[np.ndarray, " head"],
) -> pd.DataFrame:
    """The rows of one direction, or of both, whose ``effects`` are of the same heads."""
    if len(effects) == 2:
        # On pairs that both directions have.
        common = effects[0].index.intersection(effects[1].index)
        effects = tuple(one.loc[common] for one in effects)
    known: Bool[np.ndarray, " pair"] = np.all([one.notna().all(axis=1) for one in effects], axis=0)
    effects = tuple(one[known] for one in effects)
    pairs = effects[0].index.to_numpy()
    groups = labels(data.templates, pairs)
    n_templates = 0 if data.templates is None else len(np.unique(groups))
    reason = _why_not_identified(n_templates, len(pairs))
    values = np.stack([one.to_numpy() for one in effects])
    p = np.full(values.shape[2], np.nan)
    if not reason:
        random = resampling.generator(settings.seed, direction, "templates")
        p = template_p(values.mean(axis=0), groups, random, settings.permutations)
    rows = []
    for place, (layer, head) in enumerate(zip(data.layers, data.heads, strict=True)):
        own = values[:, :, place]
        if len(pairs) < MINIMUM_PAIRS:
            found = Components(note=TOO_FEW)
        elif small[place]:
            found = Components(note=BELOW_FLOOR)
        elif np.ptp(own, axis=1).max() == 0:
            found = Components(note=CONSTANT)
        elif reason:
            found = without_templates(own, reason)
        else:
            found = components(own, groups)
        total = np.nansum([found.template, found.pair, found.rest])
        rows.append(
            {
                "direction": direction,
                "layer": layer,
                "head": head,
                "n_templates": n_templates,
                "n_pairs": len(pairs),
                "mean": own.mean() if own.size else np.nan,
                "variance_template": found.template,
                "variance_pair": found.pair,
                "variance_rest": found.rest,
                "share_template": found.template / total if total > 0 else np.nan,
                "p_permutation": np.nan if np.isnan(found.template) else p[place],
                "note": found.note,
            }
        )
    return pd.DataFrame(rows)


def _why_not_identified(n_templates: int, n_pairs: int) -> str:
    """Why templates have no variance of their own, empty where they have."""
    if n_templates == 0:
        return NO_TEMPLATES
    if n_templates == 1:
        return ONE_TEMPLATE
    return ONE_PAIR_EACH if n_templates == n_pairs else ""


def components(
    effects: Float[np.ndarray, "direction pair"], groups: Int[np.ndarray, " pair"]
) -> Components:
    """The variance components of one head, from its effects in one direction or in both.

    ``groups`` says which pairs are of one template: at least two of them, and fewer than pairs.
    """
    if len(effects) == 1:
        between, within = random_intercept(effects[0], groups)
        return Components(between, within, note="" if np.isfinite(between) else NOT_FITTED)
    half_sum = effects.mean(axis=0)
    # Var(e1 − e2) = 2 Var(e), whatever the pair's effect in common.
    rest = float(np.var(effects[0] - effects[1], ddof=1) / 2)
    between, within = random_intercept(half_sum, groups)
    pair = within - rest / 2
    if pair < 0:
        # At the edge: no effect in common to the two numbers of a pair, all of them alike.
        mean = effects.mean(axis=1, keepdims=True)
        between, rest = random_intercept(
            (effects - mean).ravel(), np.tile(groups, 2), np.repeat([0, 1], len(groups))
        )
        pair = 0.0
    if not np.isfinite(between):
        return Components(note=NOT_FITTED)
    return Components(between, pair, rest)


def without_templates(effects: Float[np.ndarray, "direction pair"], reason: str) -> Components:
    """The components that are left where templates have none of their own."""
    if len(effects) == 1:
        return Components(pair=float(np.var(effects[0], ddof=1)), note=reason)
    rest = float(np.var(effects[0] - effects[1], ddof=1) / 2)
    pair = float(np.var(effects.mean(axis=0), ddof=1)) - rest / 2
    if pair < 0:
        mean = effects.mean(axis=1, keepdims=True)
        pair, rest = 0.0, float(((effects - mean) ** 2).sum() / (effects.size - 2))
    return Components(pair=pair, rest=rest, note=reason)


def random_intercept(
    values: Float[np.ndarray, " row"],
    groups: Int[np.ndarray, " row"],
    levels: Int[np.ndarray, " row"] | None = None,
) -> tuple[float, float]:
    """The variance between groups and that within them, by restricted maximum likelihood.

    Each of the ``levels`` has a mean of its own; by default all rows have one. NaN where the
    optimiser does not converge.
    """
    from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

    # AP may be of any size: the optimiser's tolerances are for numbers near 1.
    scale = float(values.std())
    if scale == 0:
        return 0.0, 0.0
    levels = np.zeros(len(values), dtype=int) if levels is None else levels
    design = np.eye(int(levels.max()) + 1)[levels]
    model = MixedLM((values - values.mean()) / scale, design, groups)
    start = MixedLMParams.from_components(
        fe_params=np.linalg.lstsq(design, model.endog, rcond=None)[0],
        cov_re=np.array([[_moment_ratio(model.endog, groups)]]),
    )
    for method in ("bfgs", ["powell"], ["lbfgs", "cg"]):
        # Its warnings say that a variance is near 0, which is an answer here and no fault.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = model.fit(reml=True, start_params=start, method=method)
            except (np.linalg.LinAlgError, ValueError):
                continue
        between, within = float(found.cov_re[0, 0]), float(found.scale)
        if found.converged and np.isfinite([between, within]).all():
            if between < NEGLIGIBLE * within:
                residual = (
                    model.endog - design @ np.linalg.lstsq(design, model.endog, rcond=None)[0]
                )
                between, within = 0.0, float(residual @ residual / (len(values) - len(design.T)))
            return between * scale**2, within * scale**2
    return np.nan, np.nan


def _moment_ratio(values: Float[np.ndarray, " row"], groups: Int[np.ndarray, " row"]) -> float:
    """Variance between groups over that within by the method of moments: where the fit starts."""
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    n, n_groups = len(values), len(sizes)
    means = np.bincount(place, values) / sizes
    within = float(((values - means[place]) ** 2).sum()) / max(n - n_groups, 1)
    mean_square = float((sizes * (means - values.mean()) ** 2).sum()) / (n_groups - 1)
    size = (n - (sizes**2).sum() / n) / (n_groups - 1)
    between = (mean_square - within) / size
    # At 0 itself the slope is 0 and nothing moves.
    return float(np.clip(between / within if within > 0 else 1.0, 1e-2, 1e4))


def template_p(
    effects: Float[np.ndarray, "pair head"],
    groups: Int[np.ndarray, " pair"],
    random: np.random.Generator,
    permutations: int,
) -> Float[np.ndarray, " head"]:
    """Of each head the share of shufflings of pairs over templates that spread its means as far.

    The pairs are shuffled alike for all heads; one-sided, (hits + 1) / (permutations + 1).
    """
    centred = effects - effects.mean(axis=0)
    sizes = np.bincount(groups)
    member = np.eye(len(sizes))[groups].T / np.sqrt(sizes)[:, None]

    def spread(order: Int[np.ndarray, " pair"]) -> Float[np.ndarray, " head"]:
        return np.asarray(((member[:, order] @ centred) ** 2).sum(axis=0))

    observed = spread(np.arange(len(groups)))
    hits = np.zeros(effects.shape[1])
    for _ in range(permutations):
        # Sums in another order differ in their last digits; such a near tie counts as a hit.
        hits += spread(random.permutation(len(groups))) >= observed * (1 - 1e-9)
    return (hits + 1) / (permutations + 1)
