"""The words of edges: who sends, who receives, and the scores of what passes between them."""

from __future__ import annotations

from counterpoint.glossary.entries import METRIC, Word

EDGE_WORDS: tuple[Word, ...] = (
    Word(
        "sender",
        "sender",
        "A part of the model that adds to the residual stream: the embeddings, a head or an MLP. "
        "Its change is what its output would be on the other prompt, less what it is.",
        computed_by="counterpoint.engine.sender_changes.sender_changes",
    ),
    Word(
        "receiver",
        "receiver",
        "What reads a sender's change: the query, the key or the value of one head of a later "
        "layer, or the logits.",
    ),
    Word(
        "edge",
        "edge",
        "The effect of a [sender](#sender) through one [receiver](#receiver) alone, exact (path "
        "patching). The sender's change is added to what the receiver reads, past all parts "
        "between the two, which stay as they are; the receiver's output follows, and everything "
        "behind it is computed anew. Into the logits it is the sender's *direct effect*.",
        formula=r"m(\text{receiver hears } x + \Delta_{\text{sender}}) - m_{\text{background}}",
        unit=METRIC,
        computed_by="counterpoint.measures.edges.edge_effects",
    ),
    Word(
        "eap",
        "EAP",
        "Edge attribution patching: the first-order guess at an [edge](#edge), the sender's change "
        "times the metric's gradient at what the receiver reads, in the background run.",
        formula=r"\Delta_{\text{sender}} \cdot \partial m / \partial x_{\text{receiver}}",
        unit=METRIC,
        computed_by="counterpoint.measures.edge_attribution.first_order",
    ),
    Word(
        "eap-ig",
        "EAP-IG",
        "[EAP](#eap) with the gradient averaged over runs whose embeddings lie on the straight "
        "line between those of the two prompts.",
        formula=r"\Delta_{\text{sender}} \cdot \int_0^1"
        r" \partial m / \partial x_{\text{receiver}}(\alpha)\,\mathrm{d}\alpha",
        unit=METRIC,
        computed_by="counterpoint.measures.edge_attribution.path_runs",
    ),
)
