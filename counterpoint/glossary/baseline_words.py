"""The words of scores that other papers give, and of holding scores against exact patching."""

from __future__ import annotations

from counterpoint.glossary.entries import METRIC, Word

BASELINE_WORDS = (
    Word(
        "atp-second-order",
        "AtP, second order",
        "AtP with the second term of the output curve's series, a Hessian-vector product along the "
        "head's own change (arXiv 2606.09899). The size of that term over the size of AtP says how "
        "far AtP is to be trusted: far below 1 it is, near 1 or above it is not.",
        formula=r"g(0) + \tfrac{1}{2}\,g'(0),\qquad"
        r" \frac{\lvert\tfrac{1}{2}\,g'(0)\rvert}{\lvert g(0)\rvert}",
        unit=METRIC,
        computed_by="counterpoint.measures.second_order.slopes_and_bends_at_start",
    ),
    Word(
        "eap-ig-head",
        "EAP-IG of a head",
        "The change of the head's output times its gradient, averaged over 5 points of the path on "
        "which the embeddings go from one prompt's to the other's (arXiv 2403.17806, there for "
        "edges). The background is a point, the other prompt is none.",
        formula=r"\frac{1}{5}\sum_{k=0}^{4} \Bigl\langle \nabla m\bigl(e_{\text{background}}"
        r" + \tfrac{k}{5}(e_{\text{other}} - e_{\text{background}})\bigr),\,"
        r" o_{\text{other}} - o_{\text{background}}\Bigr\rangle",
        unit=METRIC,
        computed_by="counterpoint.measures.input_path_gradients.input_path_scores",
    ),
    Word(
        "relp",
        "RelP",
        "The change of the head's output times the coefficient that layer-wise relevance "
        "propagation gives it (arXiv 2508.21258): the gradient, with the divisors of norms and the "
        "factors of activation functions held, and half of it for each side of a gate.",
        unit=METRIC,
        computed_by="counterpoint.measures.relevance.relevance_scores",
    ),
    Word(
        "atp-star",
        "AtP*",
        "For each layer AtP with everything held that the layer adds to the residual stream, and "
        "of these the mean size (GradDrop, arXiv 2403.00745). It has no sign. AtP*'s other part, "
        "the QK fix, is defined for queries and keys and changes nothing for heads' outputs.",
        formula=r"\frac{1}{L - 1}\sum_{\ell=1}^{L} \lvert\text{AtP without layer }\ell\rvert",
        unit=METRIC,
        computed_by="counterpoint.measures.gradient_dropout.gradient_dropout_scores",
    ),
    Word(
        "exact-checks",
        "exact checks",
        "Heads that are patched exactly, the first ones by a score. What is *found* is the share "
        "of the true first heads by |AP| that are among them.",
        unit="share",
        computed_by="counterpoint.statistics.score_agreement.score_agreement",
    ),
    Word(
        "one-direction",
        "matters in one direction only",
        "In noising only: the clean run needs the head, and putting it back alone does not bring "
        "the answer back; it works together with others that are all needed (*and*). In denoising "
        "only: putting it back is enough, and taking it away is made up for by others (*or*).",
        computed_by="counterpoint.statistics.one_direction_heads.one_direction_heads",
    ),
)
