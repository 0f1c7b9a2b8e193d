"""What the three claims about the output curve are tested by: each claim's numbers and rules.

1  AP is the difference of the curve's end points, and IG and AP agree when their contrastive inputs
   agree. Decided by two identities (the integral of g along the head's own path, and the sum of the
   curve's jumps, equal AP; the range on [0, 1] is not below |AP|) and by Lin's (1989) concordance
   of IG joint with AP over heads. Identities are judged by the rounding of the number format that
   the model computes in, where that is coarser than their bound.
2  IG and AP disagree where the curve is non-linear and comes back to where it began. On a head's
   own path IG equals AP however crooked the curve, so returning cannot be the cause; whether it is
   a *sign* is decided by two partial rank correlations with |IG joint - AP|: of the excess range
   among heads of equal |AP|, and of 1 - monotonicity among heads that move equally far. The first
   alone could be had from any head that moves far.
3  IG is more faithful where the curve has no saturated region. Decided by the partial rank
   correlation of saturation with |IG joint - AP| among heads that move equally far and, where a
   faithfulness table is given, by whether the heads that IG picks from the unsaturated part of the
   path carry the metric's change more closely than those that plain IG picks.

A claim rests on its *decisive* quantities; the *supporting* ones say more about it. Thresholds:
`statistics.claim_verdicts`; how each number is computed: `disagreement`, `score_faithfulness`,
`interaction_partners`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from counterpoint.glossary import label
from counterpoint.statistics import interaction_partners, score_faithfulness
from counterpoint.statistics.claim_verdicts import (
    CONCORDANCE,
    DESCRIBED,
    IDENTITY_TOLERANCE,
    RANGE_TOLERANCE,
    REFUTED,
    SIGN_AGREEMENT,
    SMALL_AREA,
    SMALL_CORRELATION,
    SMALL_GAIN,
    SUPPORTED,
    UNDECIDED,
    Rule,
)
from counterpoint.statistics.disagreement import SIGNS

STATEMENTS = {
    1: "AP is the difference of the curve's end points, and IG and AP agree when their contrastive "
    "inputs agree.",
    2: "IG and AP disagree where the curve is non-linear and comes back to where it began.",
    3: "IG is more faithful where the curve has no saturated region.",
}

OVERALL = "overall"
DECISIVE, SUPPORTING = "decisive", "supporting"
GAIN = f"{score_faithfulness.PREFIX}gain_of_unsaturated"
OPTIONAL = (score_faithfulness.PREFIX, interaction_partners.PREFIX)
"""Numbers whose names begin so need tables that may not be given."""


@dataclass(frozen=True)
class Quantity:
    """A number, the statement that it tests, what each verdict on it means, and its short name."""

    claim: int
    name: str
    role: str
    statement: str
    rule: Rule | None
    says: Mapping[str, str]
    title: str = ""


QUANTITIES = (
    Quantity(
        1,
        "own_path_error",
        DECISIVE,
        "The integral of the gradient along the head's own path, and the sum of the curve's jumps "
        "where it has any, equal AP (largest difference).",
        Rule("at_most", IDENTITY_TOLERANCE),
        {
            SUPPORTED: "The identity holds in every row, so AP is the difference of the end points "
            "and IG along the head's own path.",
            REFUTED: "The identity fails by more than rounding: look for an error of computation.",
        },
        "IG on the own path is AP",
    ),
    Quantity(
        1,
        "range_shortfall",
        DECISIVE,
        "The output range on [0, 1] is not below |AP| (largest shortfall).",
        Rule("at_most", RANGE_TOLERANCE),
        {
            SUPPORTED: "The end points lie on the curve in every row.",
            REFUTED: "AP exceeds the range of its own curve: look for an error of computation.",
        },
        "the range is not below |AP|",
    ),
    Quantity(
        1,
        "concordance",
        DECISIVE,
        "IG joint agrees with AP in size and sign over heads (Lin's concordance).",
        Rule("at_least", CONCORDANCE),
        {
            SUPPORTED: "IG joint may stand in for AP.",
            REFUTED: "IG joint does not agree with AP although both compare the same two prompts: "
            "the heads that move along interact.",
            UNDECIDED: "The interval leaves room for agreement and for lack of it.",
        },
        "concordance of IG joint and AP",
    ),
    Quantity(
        1,
        "pearson",
        SUPPORTING,
        "IG joint goes with AP along a straight line over heads (Pearson).",
        None,
        {DESCRIBED: "Above the concordance by as much as scale and offset differ."},
    ),
    Quantity(
        1,
        "sign_agreement",
        SUPPORTING,
        "IG joint and AP have the same sign (share of heads).",
        Rule("at_least", SIGN_AGREEMENT),
        {
            SUPPORTED: "The two rarely differ on whether a head raises the metric or lowers it.",
            REFUTED: "The two differ on whether a head raises the metric or lowers it on more than "
            "one in ten.",
            UNDECIDED: "The interval holds the threshold.",
        },
    ),
    Quantity(
        1,
        "relative_difference",
        SUPPORTING,
        "|IG joint - AP| relative to the larger of |IG joint| and |AP| (median over heads).",
        None,
        {DESCRIBED: "0: equal; 1: one of the two is zero; 2: opposite and of equal size."},
    ),
    Quantity(
        2,
        "returning_given_effect",
        DECISIVE,
        "Among heads of equal |AP|, those whose curve returns more disagree more (partial Spearman "
        "of excess range and |IG joint - AP| given |AP|).",
        Rule("positive", SMALL_CORRELATION),
        {
            SUPPORTED: "Excess range is a sign of disagreement beyond the size of the effect.",
            REFUTED: "Once |AP| is known, excess range says next to nothing about disagreement.",
            UNDECIDED: "The interval leaves room for a relation and for none.",
        },
        "return at equal |AP|",
    ),
    Quantity(
        2,
        "returning_given_movement",
        DECISIVE,
        "Among heads that move equally far, those whose curve returns more disagree more (partial "
        "Spearman of 1 - monotonicity and |IG joint - AP| given the output range).",
        Rule("positive", SMALL_CORRELATION),
        {
            SUPPORTED: "The shape of the curve, and not its size alone, is a sign of disagreement.",
            REFUTED: "Heads that return disagree no more than heads that move equally far and "
            "stay: movement is the sign, not the return.",
            UNDECIDED: "The interval leaves room for a relation and for none.",
        },
        "return at equal movement",
    ),
    Quantity(
        2,
        "returning",
        SUPPORTING,
        "Heads whose curve returns more disagree more (Spearman of excess range and "
        "|IG joint - AP|).",
        None,
        {DESCRIBED: "Nothing is held equal here: whatever moves far does more of everything."},
    ),
    Quantity(
        2,
        "auc_gain_over_effect",
        SUPPORTING,
        "Excess range tells the heads that disagree most better than |AP| does (difference of "
        "areas under the ROC curve).",
        Rule("positive", SMALL_GAIN),
        {
            SUPPORTED: "To find heads that disagree, look at excess range before |AP|.",
            REFUTED: "Excess range is no better a sign of disagreement than |AP|.",
            UNDECIDED: "The interval leaves room for a gain and for none.",
        },
    ),
    Quantity(
        2,
        "auc_gain_over_movement",
        SUPPORTING,
        "Excess range tells the heads that disagree most better than the output range does "
        "(difference of areas under the ROC curve).",
        Rule("positive", SMALL_GAIN),
        {
            SUPPORTED: "To find heads that disagree, look at excess range before the output range.",
            REFUTED: "Excess range is no better a sign of disagreement than the output range.",
            UNDECIDED: "The interval leaves room for a gain and for none.",
        },
    ),
    Quantity(
        2,
        "auc_gain_of_bend_in_company",
        SUPPORTING,
        "A curve that bends, in a layer whose other heads move, tells the heads that disagree most "
        "better than the head's own movement does (difference of areas under the ROC curve of "
        "gradient range x company and of the output range).",
        Rule("positive", SMALL_GAIN),
        {
            SUPPORTED: "To find heads that disagree, look for bent curves in layers that move.",
            REFUTED: "Bend and company tell no more than how far the head itself moves.",
            UNDECIDED: "The interval leaves room for a gain and for none.",
        },
    ),
    Quantity(
        2,
        "auc_gain_of_company",
        SUPPORTING,
        "How far the other heads of the layer move adds to what the bend of the curve tells "
        "(difference of areas under the ROC curve of gradient range x company and of gradient "
        "range).",
        Rule("positive", SMALL_GAIN),
        {
            SUPPORTED: "The company that a head moves in is a sign of its own.",
            REFUTED: "The bend of the curve alone tells as much.",
            UNDECIDED: "The interval leaves room for a gain and for none.",
        },
    ),
    *(
        Quantity(
            2,
            f"auc_{name}",
            SUPPORTING,
            f"How well {label(name)} tells the tenth of heads that disagree most (area under the "
            "ROC curve).",
            None,
            {DESCRIBED: "0.5 is chance, 1 perfect, below 0.5 a sign of agreement."},
        )
        for name in SIGNS
    ),
    Quantity(
        2,
        "own_path_error_of_returning",
        SUPPORTING,
        "In the tenth of heads whose curve returns most, the integral of g still equals AP "
        "(largest difference).",
        Rule("at_most", IDENTITY_TOLERANCE),
        {
            SUPPORTED: "Returning curves cause no disagreement on the head's own path; all of it "
            "is interaction with heads that move along.",
            REFUTED: "The identity fails by more than rounding: look for an error of computation.",
        },
    ),
    Quantity(
        2,
        f"{interaction_partners.PREFIX}own_path_error",
        SUPPORTING,
        "Integrated anew beside each partner, the head's own path still gives AP (largest "
        "difference, over the heads that disagree most).",
        Rule("at_most", IDENTITY_TOLERANCE),
        {
            SUPPORTED: "Two quadratures by different code agree that the own path hides nothing.",
            REFUTED: "The identity fails by more than rounding: look for an error of computation.",
        },
    ),
    Quantity(
        2,
        f"{interaction_partners.PREFIX}account",
        SUPPORTING,
        "Single partners that move along account for more than half of the disagreement (share of "
        "the heads that disagree most).",
        None,
        {DESCRIBED: "For the other heads the effects of three heads or more at once are as large."},
    ),
    Quantity(
        2,
        f"{interaction_partners.PREFIX}strongest",
        SUPPORTING,
        "The strongest partner's share of all interactions of a head that disagrees (mean of "
        "largest |interaction| / sum of |interactions|).",
        None,
        {DESCRIBED: "1: one partner does it all; one over the number of partners: all alike."},
    ),
    Quantity(
        3,
        "saturation_given_movement",
        DECISIVE,
        "Among heads that move equally far, IG joint misses AP by more where the curve is "
        "saturated (partial Spearman of saturation and |IG joint - AP| given the output range).",
        Rule("positive", SMALL_CORRELATION),
        {
            SUPPORTED: "Saturation goes with the error of IG beyond the size of the movement.",
            REFUTED: "Saturation says next to nothing about the error of IG.",
            UNDECIDED: "The interval leaves room for a relation and for none.",
        },
        "saturation at equal movement",
    ),
    Quantity(
        3,
        "saturation",
        SUPPORTING,
        "IG joint misses AP by more where the curve is saturated (Spearman of saturation and "
        "|IG joint - AP|).",
        None,
        {DESCRIBED: "Nothing is held equal here: small heads have small errors, saturated or not."},
    ),
    Quantity(
        3,
        "relative_error_gap",
        SUPPORTING,
        "The relative error |IG joint - AP| / (|IG joint| + |AP|) is larger for heads with a "
        "saturated path (difference of means).",
        Rule("positive", SMALL_GAIN),
        {
            SUPPORTED: "Relative to its size, IG errs more on saturated paths.",
            REFUTED: "Relative to its size, IG errs no more on saturated paths.",
            UNDECIDED: "The interval leaves room for a difference and for none.",
        },
    ),
    Quantity(
        3,
        GAIN,
        DECISIVE,
        "Heads picked by IG over the unsaturated part of the path carry the metric's change more "
        "closely than heads picked by plain IG (difference of mean closeness over k).",
        Rule("positive", SMALL_AREA),
        {
            SUPPORTED: "Leaving the saturated part out makes IG more faithful.",
            REFUTED: "Leaving the saturated part out makes IG no more faithful.",
            UNDECIDED: "The interval leaves room for a gain and for none.",
        },
        "gain of leaving saturation out",
    ),
    Quantity(
        3,
        "faithfulness_without_saturation",
        SUPPORTING,
        "IG is more faithful on pairs whose curves are less saturated (Spearman over pairs of the "
        "mean closeness over k and 1 - mean saturation).",
        Rule("positive", SMALL_CORRELATION),
        {
            SUPPORTED: "Pairs with less saturated curves have more faithful IG.",
            REFUTED: "Pairs with less saturated curves do not have more faithful IG.",
            UNDECIDED: "The interval leaves room for a relation and for none.",
        },
    ),
    Quantity(
        3,
        "faithfulness_loss_of_ig",
        SUPPORTING,
        "Heads picked by AP carry the metric's change more closely than heads picked by plain IG "
        "(difference of mean closeness over k).",
        Rule("positive", SMALL_AREA),
        {
            SUPPORTED: "Patching picks the heads that matter better than IG does.",
            REFUTED: "IG picks the heads that matter as well as patching does.",
            UNDECIDED: "The interval leaves room for a difference and for none.",
        },
    ),
)
"""Everything that is tested, in the order of the table."""

TITLES = {quantity.name: quantity.title for quantity in QUANTITIES if quantity.title}
"""The short names of what decides a claim."""

CHECKS = (
    "own_path_error",
    "range_shortfall",
    "own_path_error_of_returning",
    f"{interaction_partners.PREFIX}own_path_error",
)
"""Identities, which hold by mathematics: they check the computation and are no finding."""


def closeness_quantity(name: str) -> Quantity:
    score = name.removeprefix(score_faithfulness.PREFIX)
    return Quantity(
        3,
        name,
        SUPPORTING,
        f"How closely the first k heads by {label(score)} carry the metric's change (mean over k "
        "of closeness, 1 - |1 - share recovered|).",
        None,
        {DESCRIBED: "1: the first few heads by this score carry all of the change, and no more."},
    )
