"""The words of generated pairs: what searches are after and how their pairs are checked."""

from __future__ import annotations

from counterpoint.glossary.entries import Word

SEARCH_WORDS = (
    Word(
        "target",
        "target head",
        "The head for which pairs are composed.",
        computed_by="counterpoint.workflow.targets.choose_targets",
    ),
    Word(
        "generated-pair",
        "generated pair",
        "A prompt pair composed by search so that the target head matters on it.",
        computed_by="counterpoint.counterfactuals.methods.search.search",
    ),
    Word(
        "ld-change",
        "LD change",
        "How far the logit difference falls when the target head's output on the corrupted "
        "prompt replaces its output on the clean one: −[AP](#ap) in noising. Searches measure it "
        "whatever the metric of the study is.",
        formula=r"f(0) - f(1) = -\mathrm{AP}_{\text{noising}}",
        unit="logits",
        computed_by="counterpoint.counterfactuals.objectives.ld_change",
    ),
    Word(
        "evenness",
        "evenness",
        "Smallest ÷ mean of the four slopes at which the output falls between α = 0, ¼, ½, ¾ and "
        "1: 1 for a straight fall, 0 where a quarter of the path moves nothing, below 0 where the "
        "output turns back. Cut off at -1, and -1 where the output does not fall at all.",
        formula=r"\min_i s_i / \overline{s}, \quad s_i = -\Delta_i f / \Delta\alpha",
        unit="1",
        computed_by="counterpoint.counterfactuals.objectives.evenness",
    ),
    Word(
        "changed-tokens",
        "changed tokens",
        "The number of positions at which the two prompts of a pair differ.",
        formula=r"|\{t : x_t \neq y_t\}|",
        unit="tokens",
        computed_by="counterpoint.counterfactuals.objectives.changed_tokens",
    ),
    Word(
        "perplexity",
        "perplexity",
        "How surprised the model itself is by a prompt, per token; low for fluent text.",
        formula=r"\exp\bigl(-\tfrac{1}{T} \sum_t \log p(x_t \mid x_{<t})\bigr)",
        unit="perplexity",
        computed_by="counterpoint.counterfactuals.language.perplexity.mean_loss",
    ),
    Word(
        "rank",
        "rank, margin",
        "Rank: the place of the target head among all heads of the model by |AP| on a pair (1 is "
        "first; in the direction noising, unless the text says otherwise). Its reciprocal, 1 ÷ "
        "rank, is 1 for the first and near 0 far behind. Margin: |AP| of the target ÷ |AP| of the "
        "strongest other head, above 1 when the target is first.",
        formula=r"1 + |\{h' : |\mathrm{AP}_{h'}| > |\mathrm{AP}_h|\}|",
        unit="number",
        computed_by="counterpoint.counterfactuals.head_ranks.rank_and_margin",
    ),
    Word(
        "fluent",
        "fluent, fluency cap",
        "A pair is fluent when the model's mean loss per token is at most the cap on both prompts: "
        "the mean over the study's prompts + 0.5 nats (a factor of 1.65 in perplexity).",
        unit="nats",
        computed_by="counterpoint.counterfactuals.language.perplexity_caps.under_cap",
    ),
    Word(
        "surprise",
        "surprise",
        "−log of the probability that the model gave to a token, in nats (0: certain; 2.3: one in "
        "ten; 6.9: one in a thousand). The largest of a pair shows a word out of place that the "
        "mean hides.",
        formula=r"-\log p(x_t \mid x_{<t})",
        unit="nats",
        computed_by="counterpoint.counterfactuals.language.readability.readability",
    ),
    Word(
        "repetition",
        "repetition",
        "The share of neighbouring token pairs of a prompt that stood in it before; of both "
        "prompts the larger.",
        unit="share",
        computed_by="counterpoint.counterfactuals.language.readability.repetition",
    ),
    Word(
        "short-cut",
        "short cut",
        "A way to a large effect that says little about the head, or a fault of the text: an "
        "answer that stands in a prompt or is the changed token itself, special tokens, an answer "
        "of punctuation alone, an answer that is not the model's likeliest token, a text that the "
        "tokenizer does not turn back into the same tokens.",
        computed_by="counterpoint.counterfactuals.language.readability.readability",
    ),
    Word(
        "transfer",
        "transfer",
        "Whether the same change of tokens works in contexts it was not found in. The changed "
        "tokens keep the three tokens before them and all that follows; what stood before is "
        "replaced by the beginning of a sentence that the model wrote and the search never saw, "
        "cut where the edit goes on most naturally. Answers are the likeliest tokens of each "
        "prompt there; where both prompts have the same one, the edit failed.",
        computed_by="counterpoint.counterfactuals.evaluation.edit_transfer.transfer_columns",
    ),
    Word(
        "null",
        "null",
        "What chance gives. *Random answers*: the target's rank and |AP| on the same pair "
        "when the answers are two random tokens (median over draws). *Pairs of other "
        "heads*: its rank on the pairs that the same method found for other heads.",
        computed_by="counterpoint.counterfactuals.validation.pair_validation.validate",
    ),
    Word(
        "hypervolume",
        "hypervolume, not dominated",
        "A pair is dominated when another is at least as good in all four objectives (LD change, "
        "evenness, changed tokens, perplexity) and better in one. The hypervolume is how much of "
        "the space of the four the pairs that are not dominated cover, in units of an LD change.",
        unit="logits",
        computed_by="counterpoint.counterfactuals.hypervolume.hypervolume",
    ),
    Word(
        "evaluation",
        "model evaluation",
        "One prompt's forward or backward pass, whole or in part. Methods are compared at equal "
        "numbers of them.",
        unit="count",
        computed_by="counterpoint.counterfactuals.problem.Ledger",
    ),
    Word(
        "atlas",
        "atlas",
        "One pair for every head of the model, found by one search in which each candidate pair "
        "serves all heads.",
        computed_by="counterpoint.counterfactuals.atlas.atlas_search.search_atlas",
    ),
)
