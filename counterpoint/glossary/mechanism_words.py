"""Words for where in the prompt components act, parts inside heads, paths between, and circuits."""

from __future__ import annotations

from counterpoint.glossary.entries import METRIC, Word

MECHANISM_WORDS: tuple[Word, ...] = (
    Word(
        "position",
        "position, AP at a position",
        "A place in the prompt, counted from 0 with the token put in front. AP at a position is AP "
        "with the output replaced at that position alone. Before the first token that differs it "
        "is 0.",
        formula=r"\mathrm{AP}_p = m(o_p \leftarrow o_{p,\text{other}}) - m",
        unit=METRIC,
        computed_by="counterpoint.measures.positions.position_patching",
    ),
    Word(
        "position-interaction",
        "interaction over positions",
        "The sum of AP over positions − AP of all positions at once. It is not 0: what a component "
        "does at one position meets what it does at another in later layers.",
        formula=r"\sum_p \mathrm{AP}_p - \mathrm{AP}",
        unit=METRIC,
        computed_by="counterpoint.statistics.position_sums.position_sums",
    ),
    Word(
        "span",
        "span",
        "A name for a part of the prompts, given in the column `spans` of the file of pairs, by "
        "which positions of different prompts are compared. The last position is `end` unless "
        "another span has it.",
        computed_by="counterpoint.pairs.spans.span_tokens",
    ),
    Word(
        "alignment",
        "alignment, aligned position",
        "Which positions of two prompts of unequal length belong together: what both begin with, "
        "[spans](#span) of as many tokens, the text between the same spans, and the last position. "
        "A position that has no partner keeps its own value. In prompts of equal length every "
        "position is its own partner.",
        computed_by="counterpoint.pairs.alignment.align",
    ),
    Word(
        "role",
        "role of a head's part",
        "What a head's output is made of: its *query*, *key* and *value*, and the *pattern* that "
        "query and key give. Patching a role puts only that part of the other prompt into the "
        "background run, at all positions; the head's output follows, and everything after it is "
        "computed anew. The role *output* is [AP](#ap). Where query heads share keys and values, "
        "*key* and *value* are of one query head that alone sees the other ones; `key_group` and "
        "`value_group` of all query heads of the group together.",
        unit=METRIC,
        computed_by="counterpoint.measures.roles.role_effects",
    ),
    Word(
        "role-interaction",
        "interaction of roles",
        "[AP](#ap) − the effects of the head's query, key and value alone: what only two or three "
        "of them do together, such as a query that finds its key, or a pattern that moves to a "
        "value which has changed as well.",
        formula=r"\mathrm{AP} - (\text{query} + \text{key} + \text{value})",
        unit=METRIC,
        computed_by="counterpoint.report.roles_section.roles",
    ),
    Word(
        "attention-pattern",
        "attention pattern",
        "How much of the value at each position a head takes, for every position that looks: the "
        "weights after the softmax. They sum to 1, or to less where a model has attention sinks.",
        formula=r"\operatorname{softmax}(q k^\top + \text{mask})",
        unit="share",
        computed_by="counterpoint.measures.attention_patterns.attention_patterns",
    ),
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
    Word(
        "answer-effect",
        "effect on an answer",
        "What patching a head does to the logit, log-probability and probability of any token, "
        "everything after the head computed anew. The three order tokens alike but for the last: "
        "logit and log-probability changes of one run differ by a number that is the same for all "
        "tokens.",
        formula=r"\Delta\ell_v = \ell_v(\text{patched}) - \ell_v(\text{background})",
        unit="logits",
        computed_by="counterpoint.measures.answer_effects.logit_changes",
    ),
    Word(
        "circuit",
        "circuit",
        "A set of *nodes* (the embeddings, heads, MLPs) that compute from what they receive, while "
        "every node outside is held at its output on the other prompt. The prompt is the "
        "background's. With all nodes inside it is the background run, with none the other run.",
        computed_by="counterpoint.measures.circuit_evaluation.run_circuits",
    ),
    Word(
        "edge-circuit",
        "circuit of edges",
        "A set of *edges*, each from a [sender](#sender) into the query, key or value of a head, "
        "an MLP or the logits. An edge inside carries what its sender gives in the run, an edge "
        "outside what it gave on the other prompt; every receiver reads the sum of its own edges, "
        "its norm computed anew. All edges from some nodes are the [circuit](#circuit) of these "
        "nodes.",
        computed_by="counterpoint.measures.edge_circuit_evaluation.run_edge_circuits",
    ),
    Word(
        "circuit-faithfulness",
        "faithfulness of a circuit",
        "How far a [circuit](#circuit) goes from the other run’s metric to the background’s, both "
        "means over pairs: 0 as the other run, 1 as the whole model. It is not the "
        "[faithfulness](#faithfulness) of a score, where all that is not patched is computed anew.",
        formula=r"f(C) = \frac{\overline{m(C)} - \overline{m_{\text{other}}}}"
        r"{\overline{m_{\text{background}}} - \overline{m_{\text{other}}}}",
        unit="share",
        computed_by="counterpoint.statistics.circuit_areas.faithfulness",
    ),
    Word(
        "cpr",
        "CPR",
        "The circuit performance ratio of MIB: the area under the "
        "[faithfulness](#circuit-faithfulness) of the circuits of the first 0.1, 0.2, 0.5, 1, 2, "
        "5, 10, 20, 50 and 100 % of nodes, by trapezoids over the share. MIB ranks by value here.",
        formula=r"\int_{0.001}^{1} f(C_s)\,\mathrm{d}s",
        unit="1",
        computed_by="counterpoint.statistics.circuit_areas.circuit_performance_ratio",
    ),
    Word(
        "cmd",
        "CMD",
        "The circuit-model distance of MIB: the area between the same curve and 1; 0 is best. MIB "
        "ranks by size here.",
        formula=r"\int_{0.001}^{1} \left|1 - f(C_s)\right|\,\mathrm{d}s",
        unit="1",
        computed_by="counterpoint.statistics.circuit_areas.circuit_model_distance",
    ),
    Word(
        "idle",
        "idle member",
        "A member of a [circuit](#circuit) without which the circuit is no less faithful: the "
        "circuit is not minimal.",
        unit="share",
        computed_by="counterpoint.measures.circuit_search.costs",
    ),
    Word(
        "node-score",
        "score of a node",
        "[AP](#ap), [AtP](#atp) or [IG joint](#ig-joint) of the embeddings, a head or an MLP; or "
        "EAP-IG on inputs: the gradient at the node, averaged while the embeddings go from one "
        "prompt’s to the other’s, times the change of the node.",
        formula=r"\int_0^1 \Bigl\langle \tfrac{\partial m}{\partial v}(x_\alpha),\,"
        r" v_{\text{other}} - v_{\text{background}} \Bigr\rangle\,\mathrm{d}\alpha",
        unit=METRIC,
        computed_by="counterpoint.measures.node_scores.node_scores",
    ),
)
