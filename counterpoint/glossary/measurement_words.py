"""The words of measuring and of statistics, in reading order."""

from __future__ import annotations

from counterpoint.glossary.entries import METRIC, Word

MEASUREMENT_WORDS = (
    Word(
        "token",
        "token",
        "The unit a model reads: a word, part of a word or a sign. Token length counts the "
        "beginning-of-sequence token where the study puts one in front.",
        unit="tokens",
        computed_by="counterpoint.models.tokenizers.tokenizer.load_tokenizer",
    ),
    Word(
        "pair",
        "pair",
        "A *clean* and a *corrupted* prompt of equal token length, or with an "
        "[alignment](#alignment), and a *correct* and an *incorrect* answer. The prompts differ in "
        "what decides the answer.",
        computed_by="counterpoint.pairs.pair_checks.validate_pairs",
    ),
    Word(
        "metric",
        "metric",
        "The number that says how a run answers, read at the last position of the prompt.",
        formula="m",
        unit=METRIC,
        computed_by="counterpoint.engine.metrics.make_metric",
    ),
    Word(
        "logit-difference",
        "logit difference (LD)",
        "Logit of the correct answer − logit of the incorrect answer; where an answer is a list of "
        "tokens, the mean of their logits. Above 0 the model prefers the correct one.",
        formula=r"m = \ell_{\text{correct}} - \ell_{\text{incorrect}}",
        unit="logits",
        computed_by="counterpoint.engine.metrics.make_metric",
    ),
    Word(
        "head",
        "head",
        "An attention head, written layer.head and counted from 0. Its output is what it adds to "
        "the residual stream at every position. Where heads share keys and values, each query "
        "head counts as one.",
    ),
    Word(
        "direction",
        "direction",
        "Which prompt is the background. *Noising*: the clean run, into which the head's "
        "output from the corrupted prompt is put. *Denoising*: the corrupted run, into "
        "which its output from the clean prompt is put.",
    ),
    Word(
        "path",
        "path, α",
        "The straight line from the head's output in the background (α = 0) to its output on the "
        "other prompt (α = 1), at all positions together; everything after the head is computed "
        "anew.",
        formula=r"o(\alpha) = o_{\text{background}} + \alpha\,(o_{\text{other}}"
        r" - o_{\text{background}})",
        unit="1",
        computed_by="counterpoint.engine.head_outputs.differences",
    ),
    Word(
        "output-curve",
        "output curve f(α)",
        "The metric along the path. f(0) is the unpatched run, f(1) the patched one.",
        formula=r"f(\alpha) = m\bigl(o(\alpha)\bigr)",
        unit=METRIC,
        computed_by="counterpoint.measures.curves.output_curves",
    ),
    Word(
        "gradient",
        "gradient g(α)",
        "The slope of the output curve, df/dα.",
        formula=r"g(\alpha) = \frac{\mathrm{d}f}{\mathrm{d}\alpha}",
        unit=METRIC,
        computed_by="counterpoint.measures.slopes.values_and_slopes",
    ),
    Word(
        "node",
        "node",
        "A point of the path at which a curve is reported: 50 Gauss-Legendre nodes on [0, 1]. They "
        "are read from an interpolant; at how many points the model was run says the column "
        "`nodes`.",
        computed_by="counterpoint.measures.quadrature.gauss_legendre",
    ),
    Word(
        "output-range",
        "output range",
        "Maximum − minimum of f over the 50 Gauss-Legendre nodes, which leave out α = 0 and "
        "α = 1; so it can be slightly below |AP|. On the closed interval [0, 1] it cannot.",
        formula=r"\max_i f(\alpha_i) - \min_i f(\alpha_i)",
        unit=METRIC,
        computed_by="counterpoint.measures.curves.output_curves",
    ),
    Word(
        "gradient-range",
        "gradient range",
        "Maximum − minimum of g over the same nodes.",
        formula=r"\max_i g(\alpha_i) - \min_i g(\alpha_i)",
        unit=METRIC,
        computed_by="counterpoint.measures.curves.output_curves",
    ),
    Word(
        "ap",
        "AP, activation patching",
        "f(1) − f(0): the exact change of the metric when the head's output is replaced by that "
        "of the other prompt. It has a sign; |AP| is its size.",
        formula=r"\mathrm{AP} = f(1) - f(0)",
        unit=METRIC,
        computed_by="counterpoint.measures.patching.activation_patching",
    ),
    Word(
        "ap-normalised",
        "AP normalised",
        "AP divided by the metric on the clean prompt − the metric on the corrupted one: the share "
        "of the whole difference that this head moves.",
        formula=r"\mathrm{AP} / (m_{\text{clean}} - m_{\text{corrupted}})",
        unit="share",
        computed_by="counterpoint.measures.tables.curve_table.score_curves",
    ),
    Word(
        "atp",
        "AtP, attribution patching",
        "g(0): the first-order guess of AP from the slope at the start of the path.",
        formula=r"\mathrm{AtP} = g(0)",
        unit=METRIC,
        computed_by="counterpoint.measures.slopes.attribution_patching",
    ),
    Word(
        "ig-joint",
        "IG joint",
        "Integrated gradients with all heads of the layer moving together from background to "
        "other; a head's score is its part of the sum over positions and dimensions.",
        formula=r"\int_0^1 g_h(\text{all heads of the layer at } \alpha)\,\mathrm{d}\alpha",
        unit=METRIC,
        computed_by="counterpoint.measures.integrated_gradients.integrated_gradients",
    ),
    Word(
        "ig-own",
        "IG on the own path",
        "Integrated gradients with only this head moving, ∫ g dα. It equals AP exactly (a theorem, "
        "called completeness), so it serves as a check of the numbers and is never a finding.",
        formula=r"\int_0^1 g(\alpha)\,\mathrm{d}\alpha = f(1) - f(0)",
        unit=METRIC,
        computed_by="counterpoint.measures.curves.output_curves",
    ),
    Word(
        "convergence-delta",
        "convergence delta",
        "The sum of IG joint over a layer's heads − the effect of patching the whole layer: 0 up "
        "to rounding and quadrature, unless the metric jumps on the way.",
        formula=r"\sum_h \mathrm{IG}_{\text{joint}}(h) - \mathrm{AP}_{\text{layer}}",
        unit=METRIC,
        computed_by="counterpoint.measures.integrated_gradients.IntegratedGradientScores",
    ),
    Word(
        "disagreement",
        "disagreement",
        "[IG joint](#ig-joint) − [AP](#ap). Since integrated gradients on the "
        "head's own path equal AP however crooked its curve, the disagreement is all "
        "[interaction](#interaction).",
        formula=r"\mathrm{IG}_{\text{joint}} - \mathrm{AP}",
        unit=METRIC,
        computed_by="counterpoint.statistics.panel.value",
    ),
    Word(
        "interaction",
        "interaction",
        "What integrated gradients give a head more (or less) because other heads of its layer "
        "move along. With a single partner: the head's integrated gradients while the two move, "
        "less its AP.",
        formula=r"\int_0^1 \bigl[g_h(h \text{ and } j \text{ at } \alpha)"
        r" - g_h(h \text{ alone at } \alpha)\bigr]\,\mathrm{d}\alpha",
        unit=METRIC,
        computed_by="counterpoint.measures.interaction.partners",
    ),
    Word(
        "remainder",
        "remainder",
        "What is left of the [disagreement](#disagreement) when a head's "
        "[interactions](#interaction) with all single partners are taken off: it needs three or "
        "more heads at once.",
        formula=r"\mathrm{IG}_{\text{joint}} - \mathrm{AP} - \sum_j \text{interaction}(h, j)",
        unit=METRIC,
        computed_by="counterpoint.measures.tables.interaction_table.score_interactions",
    ),
    Word(
        "jump",
        "jump of the curve",
        "In a mixture of experts a router runs other experts from some point of the path on, and "
        "the output curve jumps there. Gradients do not see a jump: integrated gradients on the "
        "head's own path and the sum of its jumps together equal AP.",
        formula=r"f(\alpha^+) - f(\alpha^-)",
        unit=METRIC,
        computed_by="counterpoint.measures.jumps.own_paths",
    ),
    Word(
        "total-variation",
        "total variation",
        "∫ |g| dα, and the sizes of the jumps: the length of all the ups and downs of the output "
        "curve.",
        formula=r"\int_0^1 |g|\,\mathrm{d}\alpha + \sum |\text{jumps}|",
        unit=METRIC,
        computed_by="counterpoint.measures.curves.output_curves",
    ),
    Word(
        "monotonicity",
        "monotonicity",
        "|AP| divided by the total variation: 1 for a curve that only rises or only falls, near 0 "
        "for one that comes back.",
        formula=r"|\mathrm{AP}| / \text{total variation}",
        unit="share",
        computed_by="counterpoint.measures.curve_measures.monotonicity",
    ),
    Word(
        "excess-range",
        "excess range",
        "Output range on [0, 1] − |AP|: movement along the path that returns before its end.",
        formula=r"\max_{[0,1]} f - \min_{[0,1]} f - |\mathrm{AP}|",
        unit=METRIC,
        computed_by="counterpoint.measures.curves.output_curves",
    ),
    Word(
        "saturation",
        "saturation",
        "The share of the path on which |g| is below 5 % of its greatest value: the flat parts.",
        formula=r"\bigl|\{\alpha : |g(\alpha)| < 0.05\,\max|g|\}\bigr|",
        unit="share",
        computed_by="counterpoint.measures.saturation.saturation",
    ),
    Word(
        "quadrature-error",
        "quadrature error",
        "How far the output curve may be from the truth, in units of the metric: between the "
        "computed points, and by rounding. A curve that stayed unresolved has a large one.",
        unit=METRIC,
        computed_by="counterpoint.measures.curves.output_curves",
    ),
    Word(
        "floor",
        "floor of rounding",
        "The size below which a movement cannot be told from rounding: the setting "
        "`statistics.floor`, or what rounding in the number format of the study may move, where "
        "that is more (in bfloat16 by far). Heads whose output curve moves by less are marked, and "
        "left out of correlations and lines, with their number.",
        unit=METRIC,
        computed_by="counterpoint.statistics.panel.floors",
    ),
    Word(
        "correlation",
        "correlation: Pearson, Spearman, Kendall",
        "How two columns go together over heads, from -1 to 1. Pearson: along a straight line. "
        "Spearman: of the ranks. Kendall: share of head pairs in the same order − share in the "
        "opposite order.",
        unit="1",
        computed_by="counterpoint.statistics.correlations.correlations",
    ),
    Word(
        "partial",
        "within layers, partial correlation",
        "The correlation that remains when each head is compared only with heads of its own layer, "
        "since deeper layers have larger effects and larger movements alike.",
        unit="1",
        computed_by="counterpoint.statistics.coefficients.coefficients",
    ),
    Word(
        "concordance",
        "concordance",
        "Lin's concordance: how far two columns are equal over heads, from -1 to 1. Unlike a "
        "correlation it also falls with a difference of scale or offset.",
        formula=r"\frac{2 s_{xy}}{s_x^2 + s_y^2 + (\bar x - \bar y)^2}",
        unit="1",
        computed_by="counterpoint.statistics.disagreement.concordance",
    ),
    Word(
        "interval",
        "interval",
        "The range in square brackets: the estimate is computed again on resampled data "
        "(bootstrap) and the interval holds the stated share of the results. Pairs are drawn "
        "whole, since the heads of one pair are not independent (cluster bootstrap), and heads are "
        "drawn too where a number is over heads.",
        computed_by="counterpoint.statistics.resampling.study_interval",
    ),
    Word(
        "p-value",
        "permutation p-value",
        "The share of random re-orderings of the heads that give a correlation at least as far "
        "from 0, the order found counted as one of them. Corrected p-values allow for the number "
        "of tests made.",
        unit="share",
        computed_by="counterpoint.statistics.resampling.permutation_p",
    ),
    Word(
        "chance",
        "by chance",
        "What a comparison gives on average for rankings in random order.",
        unit="share",
        computed_by="counterpoint.statistics.stability.chance_rank_biased_overlap",
    ),
    Word(
        "stability",
        "stability of the ranking",
        "How far two rankings of heads agree on their top. *Jaccard at k*: heads in both "
        "tops of k ÷ heads in either. *Rank-biased overlap*: the share of heads that both "
        "tops of a depth have in common, averaged over all depths, the top weighing most. Both are "
        "1 for equal rankings.",
        unit="share",
        computed_by="counterpoint.statistics.stability.stability",
    ),
    Word(
        "sample-size",
        "pairs that the first heads take",
        "How many of the first k heads a study of n pairs finds: n pairs are drawn at random, and "
        "their first k heads by mean |AP| compared with those by all pairs, or by the pairs that "
        "were not drawn, with which they share none.",
        unit="count",
        computed_by="counterpoint.statistics.sample_sizes.sample_sizes",
    ),
    Word(
        "template",
        "template",
        "The pattern that a pair was made by, where its file names one: pairs of one template have "
        "their sentence in common and are no independent evidence. Where there are at least 5, and "
        "fewer than pairs, intervals draw templates, each with all its pairs.",
        computed_by="counterpoint.statistics.templates.with_templates",
    ),
    Word(
        "variance-components",
        "variance components of AP",
        "Of what the AP of a head varies: from [template](#template) to template, from pair to "
        "pair of one template, and, where both [directions](#direction) are taken together, what "
        "the two directions on one pair do not share. A mixed model, fitted by restricted maximum "
        "likelihood.",
        formula=r"e_{dp} = \mu_d + \tau_{t(p)} + \pi_p + \varepsilon_{dp}",
        unit="metric²",
        computed_by="counterpoint.statistics.variance_components.variance_components",
    ),
    Word(
        "faithfulness",
        "faithfulness",
        "How well a score names the heads that matter: the first k heads by it are patched "
        "together, and the share of the metric's change that they make is compared with all of it. "
        "Too much counts against a score like too little.",
        formula=r"\frac{m(\text{first } k \text{ heads patched}) - m_{\text{background}}}"
        r"{m_{\text{other}} - m_{\text{background}}}",
        unit="share",
        computed_by="counterpoint.measures.faithfulness.recovered",
    ),
    Word(
        "closeness",
        "closeness",
        "1 − |1 − share recovered|: 1 where the first k heads recover all of the metric's change, "
        "less by what is missing or too much. Its mean height over k is a score's "
        "[faithfulness](#faithfulness) in one number.",
        formula=r"1 - |1 - r|",
        unit="share",
        computed_by="counterpoint.statistics.score_faithfulness.closeness",
    ),
    Word(
        "verdict",
        "verdict",
        "What the numbers of this study say about a claim; it holds for this model, task and set "
        "of pairs.",
        computed_by="counterpoint.statistics.claim_verdicts.Rule",
    ),
    Word(
        "share",
        "share of the metric's change",
        "A head's mean AP ÷ the mean change of the metric between the two runs of a pair. Positive "
        "where the head moves the metric towards its value on the other prompt, in both "
        "directions; it makes tasks comparable whose metrics move by different amounts.",
        formula=r"\overline{\mathrm{AP}} / \overline{m_{\text{other}} - m_{\text{background}}}",
        unit="share",
        computed_by="counterpoint.statistics.studies.heads_across",
    ),
    Word(
        "average",
        "average over studies",
        "A random-effects meta-analysis: studies weigh by how sure they are, and their spread "
        "beyond chance widens the interval. *I²* is the share of the spread that chance "
        "within studies does not explain. Studies of one model share its heads, so the interval "
        "says how sure the average over such studies is, not over all models.",
        computed_by="counterpoint.statistics.meta_analysis.random_effects",
    ),
)
