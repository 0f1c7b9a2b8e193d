"""Studies of one head, one layer, one pair or no effect work to the last page, and say what is not
defined in them instead of showing numbers without a reason."""

from __future__ import annotations

import csv
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from counterpoint import report
from counterpoint.counterfactuals.head_ranks import head_name, margins, rank_and_margin
from counterpoint.counterfactuals.pair_quality import quality
from counterpoint.figures import study_figures, theme
from counterpoint.figures.comparison_figures import draw_comparison
from counterpoint.files.artifacts import read_table, write_table
from counterpoint.measures.curve_arrays import Curves
from counterpoint.measures.tables.interaction_table import COLUMNS
from counterpoint.report import comparison_page as page
from counterpoint.statistics.claims import claims
from counterpoint.statistics.correlations import correlations
from counterpoint.statistics.interaction_partners import by_head
from counterpoint.statistics.meta_analysis import claims_across, correlations_across
from counterpoint.statistics.ranking_overlaps import overlaps
from counterpoint.statistics.sample_sizes import sample_sizes
from counterpoint.statistics.stability import kendall_w, stability
from counterpoint.statistics.studies import Study, heads_across, studies_side_by_side
from counterpoint.statistics.variance_components import variance_components
from tests.figures.test_study_figures import drawn_text
from tests.helpers.small_study import (
    ANSWERS,
    PAIRS,
    configuration,
    make_model,
    project_copy,
    snakemake,
    write_configuration,
)
from tests.helpers.synthetic import QUICK, Shape, make_pairs, make_scores
from tests.report.test_study_report import Page

ONE = Shape(pairs=1, layers=1, heads=1, directions=("noising",))
SETTINGS = {
    "model": "tiny",
    "metric": "logit_difference",
    "statistics": {"floor": 1e-4, "top_k": 20, "bootstrap_samples": 50},
    "report": {"heads_shown": 9, "heads": [[0, 0]]},
}
DRAWN = ("still",)
SHARES = ("monotonicity", "saturation")
Tables = tuple[pd.DataFrame, dict[str, np.ndarray], pd.DataFrame]


def flat(tables: Tables, how: str) -> Tables:
    """The study below the floor, not moving at all, of heads all alike, or of equal metrics."""
    heads, curves, baseline = tables
    moving = [name for name in heads.columns if heads[name].dtype == float and name not in SHARES]
    start = curves["output"][..., :1]
    if how in ("below the floor", "still"):
        scale = 1e-8 if how == "below the floor" else 0.0
        heads[moving] *= scale
        curves |= {"output": start + scale * (curves["output"] - start)}
        curves |= {"gradient": curves["gradient"] * scale}
    if how == "alike":
        heads[moving] = heads[moving].iloc[0].to_numpy()
    if how == "equal metrics":
        heads["ap_normalised"] = np.nan
        baseline["metric_corrupted"] = baseline["metric_clean"]
    return heads, curves, baseline


def make_study(folder: Path, shape: Shape, how: str) -> report.Results:
    """Every file of a study as the jobs write them, from its scores."""
    heads, _, baseline = flat(make_scores(shape), how)
    none = pd.DataFrame({name: np.empty(0, dtype=kind) for name, kind in COLUMNS.items()})
    if shape.heads > 1:
        none = pd.DataFrame(
            [(0, name, 0, 0, 0.5, 0.5, 0.5, 1, 0.0, 0.0) for name in shape.directions],
            columns=list(COLUMNS),
        )
    share = np.nan if how == "equal metrics" else 0.5
    faithful = pd.DataFrame(
        [
            (pair, direction, score, 1, share)
            for pair in range(shape.pairs)
            for direction in shape.directions
            for score in ("ap", "ig_joint", "ig_unsaturated")
        ],
        columns=["pair", "direction", "score", "k", "recovered"],
    )
    dropped = pd.DataFrame(columns=["row", "clean", "corrupted", "correct", "incorrect", "reason"])
    for name, table in {
        "heads.parquet": heads,
        "baseline.parquet": baseline,
        "pairs.parquet": make_pairs(shape),
        "dropped.csv": dropped,
        "interaction.parquet": none,
        "faithfulness.parquet": faithful,
        "correlations.csv": correlations(heads, settings=QUICK),
        "claims.csv": claims(heads, faithful, none, settings=QUICK),
        "stability.csv": stability(heads, settings=QUICK),
        "sample_sizes.csv": sample_sizes(heads, settings=QUICK),
        "variance.csv": variance_components(heads, settings=QUICK),
    }.items():
        write_table(table, folder / name)
    return report.load_results("made", folder, SETTINGS)


def draw(folder: Path, shape: Shape, how: str) -> None:
    """The figures of the study, drawn to the last line."""
    heads, curves, baseline = flat(make_scores(shape), how)
    for name, figure in study_figures.draw_figures(
        heads,
        baseline,
        Curves(**curves, directions=shape.directions),
        read_table(folder / "correlations.csv"),
        read_table(folder / "stability.csv"),
        floor=1e-4,
        heads_shown=9,
        top_k=20,
        configured=[(0, 0)],
    ).items():
        (folder / "figures").mkdir(exist_ok=True)
        (folder / "figures" / f"{name}.svg").write_bytes(theme.figure_svg(figure))


@pytest.mark.parametrize(
    ("shape", "how", "said"),
    [
        (ONE, "as it is", ["Not defined: 1 head above the floor, fewer than 4",
                           "The head that moves the answer most is 0.0",
                           "Every head is alone in its layer"]),
        (Shape(pairs=2, layers=3, heads=1), "still",
         ["No head moves the answer", "Not defined: fewer than 4 heads above the floor (0)",
          "every value is below the floor", "Not defined: 0 heads above the floor"]),
        (Shape(pairs=3, layers=1, heads=4, directions=("denoising",)), "alike",
         ["output range and |AP| are constant over the heads"]),
        (Shape(pairs=1, layers=2, heads=2), "equal metrics",
         ["values of AP normalised that are not defined",
          "the metric is the same on both prompts of 1 pairs", "missing values 0"]),
        (Shape(pairs=1, layers=1, heads=2), "below the floor",
         ["one pair: there is no other ranking", "patching any of them alone changes"]),
    ],
)  # fmt: skip
def test_a_small_study_says_what_is_not_defined(
    tmp_path: Path, shape: Shape, how: str, said: list[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        results = make_study(tmp_path, shape, how)
        if how in DRAWN:
            draw(tmp_path, shape, how)
        parts = [
            part(results)
            for part in (
                report.heads, report.heat_maps, report.relations, report.curves, report.claims,
                report.reasons, report.stability, report.pairs, report.dropped, report.exactness,
                report.limits, report.provenance, report.cite,
            )
        ]  # fmt: skip
        parts.append(report.headline(results, "t"))
    text = re.sub(r"\s+", " ", " ".join(Page(part).text + " " for part in parts))
    spaced = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", " ".join(parts)))
    for words in said:
        assert words in text or words in spaced, words
    assert not re.search(r"\b(nan|NaN|None|inf)\b", text)
    assert ("was not drawn" in text) == (how not in DRAWN)
    if shape.pairs == 1:
        assert "interval over pairs, widened" not in text and "One pair, so no interval" in text
    if len(shape.directions) == 1:
        assert "Rows of maps" not in text and "head and direction" not in text


def test_what_has_no_ranking_is_compared_with_a_reason(tmp_path: Path) -> None:
    """Of studies of one head, and of one that does not move beside one that does."""
    for shape, hows, reason in (
        (ONE, ("as it is", "still"), "fewer than 3 heads"),
        (Shape(pairs=2, layers=2, heads=2), ("as it is", "still"), "order of rounding errors"),
    ):
        folder = tmp_path / str(shape.heads)
        tables = {how: flat(make_scores(shape), how) for how in hows}
        studies = [
            Study(how, how, "m", "kl_divergence", heads, baseline)
            for how, (heads, _, baseline) in tables.items()
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            own = {
                "claims": {one.name: claims(one.heads, settings=QUICK) for one in studies},
                "correlations": {
                    one.name: correlations(one.heads, settings=QUICK) for one in studies
                },
            }
            found = {
                "studies": studies_side_by_side(studies, settings=QUICK),
                "heads": heads_across(studies, settings=QUICK),
                "overlaps": overlaps(studies, settings=QUICK),
                "claims": claims_across(own["claims"]),
                "correlations": correlations_across(own["correlations"]),
            }
            for name, table in found.items():
                write_table(table, folder / "comparison" / f"{name}.csv")
            for how, table in own["claims"].items():
                write_table(table, folder / how / "claims.csv")
            compared = page.load_comparison(folder / "comparison")
            figures = draw_comparison(
                compared.heads, compared.overlaps, own["claims"], compared.claims,
                own["correlations"], compared.correlations,
            )  # fmt: skip
            shown = page.studies(compared) + page.overlaps(compared) + page.headline(compared, "t")
            shown += page.explore(compared)
        table = found["overlaps"]
        undefined = table[table["estimate"].isna()]
        assert len(undefined) and undefined["note"].str.contains(reason).all()
        text = Page(shown).text
        assert reason in text and "no share is negative in noising" in text
        assert not re.search(r"\bnan\b", text)
        if shape is ONE:
            assert "fewer than 3 heads" in drawn_text(figures["overlaps"])


@pytest.mark.workflow
def test_one_head_and_one_pair_with_a_divergence_work_to_the_report(tmp_path: Path) -> None:
    """The smallest study there is, by another metric, of a doubtful pair, a row left out."""
    project_copy(tmp_path)
    make_model(tmp_path / "tiny", num_hidden_layers=1, num_attention_heads=1,
               num_key_value_heads=1, head_dim=32)  # fmt: skip
    clean, corrupted = (f"{text} " for text in PAIRS[0])
    with (tmp_path / "small.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(
            [("clean", "corrupted", "correct", "incorrect"), (clean, corrupted, *ANSWERS),
             ("None", "NA", "null", "<i>007</i>")]
        )  # fmt: skip
    config = configuration()
    config["studies"]["small"] |= {
        "metric": "kl_divergence",
        "directions": ["noising"],
        "on_bad_pair": "drop",
        "counterfactuals": {"targets": []},
        "edges": {"pairs": 1, "receivers": {"top": 1}},
        "position_curves": {"pairs": 1, "heads": [[0, 0]]},
        # AtP* divides by the number of layers - 1, and refuses a model of one.
        "baselines": ["eap_ig", "relp", "atp_hvp"],
    }
    write_configuration(tmp_path, config)
    done = snakemake(tmp_path)
    assert done.returncode == 0, done.stdout
    results = tmp_path / "results" / "small"
    told = [line for line in done.stdout.splitlines() if line.startswith("warning:")]
    spaced = [line for line in told if "1 of 1 pair, row 1: a prompt ends in a space" in line]
    assert len(spaced) == 2  # at once, and once more when the report is made
    assert "a prompt ends" in (results / "logs" / "prepare_pairs.log").read_text()
    assert read_table(results / "warnings.csv")["kind"].unique().tolist() == ["trailing space"]
    heads = read_table(results / "heads.parquet")
    assert len(heads) == 1 and heads["ap"].min() >= 0 and heads["atp"].abs().max() < 1e-6
    assert read_table(results / "interaction.parquet").empty
    text = re.sub(r"\s+", " ", Page((results / "report.html").read_text(encoding="utf-8")).text)
    for words in (
        "Doubtful pairs", "In the direction noising no AP can be negative", "0 by definition",
        "Every head is alone in its layer", "fewer than 4", "1 of 2 rows", "small.csv",
    ):  # fmt: skip
        assert words in text, words
    shown = re.search(r'<h2 id="dropped">.*?<h2', (results / "report.html").read_text(), re.S)
    assert shown is not None
    for cell in ("None", "NA", "null", "&lt;i&gt;007&lt;/i&gt;"):
        assert f">{cell}<" in shown[0]
    assert not re.search(r"\bnan\b", text)


def test_where_nothing_disagrees_nothing_is_accounted_for() -> None:
    table = pd.DataFrame(
        [(0, "noising", 0, head, 1.0, 1.0, joint, 2, 0.0, 0.0)
         for head, joint in ((0, 1.0), (1, 1.5))],
        columns=list(COLUMNS),
    )  # fmt: skip
    accounted = by_head(table)["accounted"]
    assert np.isnan(accounted[0]) and accounted[1] == 1


def test_rankings_that_tie_everything_have_no_concordance() -> None:
    assert np.isnan(kendall_w(np.zeros((3, 4))))
    assert kendall_w(np.array([[1.0, 2, 3], [1, 2, 3]])) == pytest.approx(1)


def test_an_only_head_has_no_rival() -> None:
    rank, margin, second = rank_and_margin(np.array([-0.5]), 0)
    assert (rank, margin, head_name(second, 1)) == (1, np.inf, "none")
    assert head_name(5, 3) == "1.2"
    effects = np.array([[0.5], [-0.5], [0.0]])
    assert margins(effects).shape == effects.shape
    assert (margins(effects)[:, 0] > 1).tolist() == [True, False, False]
    # Ahead of nobody counts as well ahead, with an effect.
    assert quality(effects, margins(effects))[:, 0].argmax() == 0
