"""The tables of circuits: their nodes, what they answer, and their areas."""

from __future__ import annotations

from counterpoint.glossary.entries import METRIC, Column, Table
from counterpoint.glossary.shared_columns import DIRECTION, INTERVAL, PAIR

CIRCUIT_METHOD = Column(
    "method",
    "",
    "How nodes are chosen.",
    "circuit",
    says={
        "greedy": "greedy search",
        "ap": "AP",
        "atp": "AtP (EAP at the level of nodes)",
        "ig_joint": "IG joint",
        "eap_ig_inputs": "EAP-IG on inputs",
    },
)
RANKED_BY = Column(
    "ranked_by",
    "",
    "Whether nodes are ranked by their importance or by its size.",
    "circuit",
    says={"value": "the importance: helpful nodes first", "size": "its size"},
)
COMPONENT = Column(
    "component",
    "",
    "What the node is.",
    "circuit",
    says={"embedding": "the embeddings", "head": "a head", "mlp": "an MLP"},
)
NODE_LAYER = Column("layer", "number", "The layer, counted from 0; -1 for embeddings.", "head")
NODE_HEAD = Column(
    "head", "number", "The head within its layer, from 0; -1 for embeddings and MLPs.", "head"
)
IMPORTANCE = Column(
    "importance",
    "share",
    "−score ÷ the change of the metric between the runs: how much f would fall without the node; "
    "missing for a search.",
    "node-score",
)

EDGE_METHOD = Column(
    "method",
    "",
    "How edges are chosen.",
    "edge-circuit",
    says={
        "pruned": "pruning of the set by EAP-IG",
        "eap": "EAP",
        "eap_ig": "EAP-IG",
    },
)
EDGE_RANKED_BY = Column(
    "ranked_by",
    "",
    "Whether edges are ranked by their importance or by its size.",
    "edge-circuit",
    says=RANKED_BY.says,
)
EDGE_KEYS = (
    Column("sender_layer", "number", "The layer of the sender; -1 for embeddings.", "sender"),
    Column(
        "sender_head", "number", "The head of the sender; -1 for embeddings and MLPs.", "sender"
    ),
    Column(
        "receiver_layer",
        "number",
        "The layer of the receiver; for the logits the one after the last.",
        "receiver",
    ),
    Column(
        "receiver_head",
        "number",
        "The head of the receiver; -1 for MLPs and logits.",
        "receiver",
    ),
    Column(
        "role",
        "",
        "What of the receiver reads the edge.",
        "receiver",
        says={
            "query": "a head's query",
            "key": "a head's key",
            "value": "a head's value",
            "mlp": "an MLP",
            "logits": "the logits",
        },
    ),
)
EDGE_K = Column("k", "count", "How many first edges are inside.", "edge-circuit")

EDGE_CIRCUIT_TABLES = (
    Table(
        "circuit_edges.parquet",
        "The edges of each method's small set for the largest share that it recovers: one row per "
        "direction, method and edge.",
        (
            DIRECTION,
            EDGE_METHOD,
            Column("k", "count", "The edge's place in the set, by its score.", "edge-circuit"),
            *EDGE_KEYS,
            Column(
                "importance",
                "share",
                "−score ÷ the change of the metric between the runs: a guess of how much f of the "
                "whole model would fall without the edge.",
                "edge-circuit",
            ),
            Column(
                "cost",
                "share",
                "How much f of the set falls without this edge; 0 or less for an idle one; missing "
                "where the set is too large for the check.",
                "idle",
                "cost of leaving out",
            ),
        ),
    ),
    Table(
        "circuit_edge_scores.parquet",
        "Scores of all edges, means over the pairs: one row per direction, method and edge.",
        (
            DIRECTION,
            EDGE_METHOD,
            *EDGE_KEYS,
            Column("score", METRIC, "The first-order guess of the edge's effect.", "eap"),
        ),
    ),
    Table(
        "circuit_edge_faithfulness.parquet",
        "Every circuit of edges on every pair: one row per pair, direction, method, ranking and "
        "circuit.",
        (
            PAIR,
            DIRECTION,
            EDGE_METHOD,
            EDGE_RANKED_BY,
            Column(
                "share",
                "share",
                "The benchmark's share of edges; missing for sizes tried for small sets.",
                "cpr",
                "share of edges",
            ),
            EDGE_K,
            Column("metric", METRIC, "The metric of the circuit.", "metric"),
            Column(
                "recovered",
                "share",
                "How far it goes from the other run to the background's, on this pair alone.",
                "circuit-faithfulness",
            ),
        ),
    ),
    Table(
        "circuit_edge_curves.csv",
        "Faithfulness of circuits of edges: one row per direction, method, ranking and number of "
        "edges.",
        (
            DIRECTION,
            EDGE_METHOD,
            EDGE_RANKED_BY,
            Column(
                "share",
                "share",
                "The benchmark's share of edges; missing for sizes tried for small sets.",
                "cpr",
                "share of edges",
            ),
            EDGE_K,
            Column(
                "faithfulness",
                "share",
                "f of the circuit of the first k edges, a ratio of means over pairs.",
                "circuit-faithfulness",
            ),
            *INTERVAL,
        ),
    ),
    Table(
        "circuit_edge_areas.csv",
        "CPR and CMD of circuits of edges: one row per direction, method, ranking and area.",
        (
            DIRECTION,
            EDGE_METHOD,
            EDGE_RANKED_BY,
            Column(
                "area",
                "",
                "Which area it is.",
                "cpr",
                says={"cpr": "under f: more is better", "cmd": "under |1 − f|: less is better"},
            ),
            Column("estimate", "1", "The area, over all pairs.", "cpr"),
            *INTERVAL,
            Column("n_edges", "count", "All edges of the model.", "edge-circuit"),
            Column("n_pairs", "count", "Pairs that circuits are sought on.", "pair"),
        ),
    ),
    Table(
        "circuit_edge_graph.json",
        "The model as the benchmark describes it: one record.",
        (
            Column("n_layers", "count", "Blocks of the model."),
            Column("n_heads", "count", "Query heads of a layer."),
            Column(
                "parallel_attn_mlp", "", "Whether an MLP reads what its layer's attention reads."
            ),
            Column("d_model", "count", "Width of the residual stream."),
        ),
    ),
)

CIRCUIT_TABLES = (
    Table(
        "circuit.parquet",
        "The nodes of small circuits in the order in which each method takes them in: one row per "
        "direction, method and number k of nodes.",
        (
            DIRECTION,
            CIRCUIT_METHOD,
            Column("k", "count", "How many nodes are inside with this one.", "circuit"),
            COMPONENT,
            NODE_LAYER,
            NODE_HEAD,
            IMPORTANCE,
            Column(
                "faithfulness",
                "share",
                "f of the circuit of the first k nodes, a ratio of means over pairs.",
                "circuit-faithfulness",
            ),
            *INTERVAL,
            Column("gain", "share", "How much f rises with this node.", "circuit-faithfulness"),
            Column(
                "cost",
                "share",
                "How much f of the set for the largest share recovered falls without this node; 0 "
                "or less for an idle one; missing for nodes beyond the set.",
                "idle",
                "cost of leaving out",
            ),
            Column("tried", "count", "Nodes that the search ran at this step; 0 for a ranking."),
        ),
    ),
    Table(
        "circuit_nodes.parquet",
        "Scores of all nodes, means over the pairs: one row per direction, method and node.",
        (
            DIRECTION,
            CIRCUIT_METHOD,
            COMPONENT,
            NODE_LAYER,
            NODE_HEAD,
            Column("score", METRIC, "The score: AP, or a method's guess of it.", "node-score"),
            IMPORTANCE,
        ),
    ),
    Table(
        "circuit_faithfulness.parquet",
        "Every circuit on every pair: one row per pair, direction, method, ranking and circuit.",
        (
            PAIR,
            DIRECTION,
            CIRCUIT_METHOD,
            RANKED_BY,
            Column(
                "share",
                "share",
                "The benchmark's share of nodes; missing for the circuits of circuit.parquet.",
                "cpr",
                "share of nodes",
            ),
            Column("k", "count", "How many first nodes are inside.", "circuit"),
            Column("metric", METRIC, "The metric of the circuit.", "metric"),
            Column(
                "recovered",
                "share",
                "How far it goes from the other run to the background's, on this pair alone.",
                "circuit-faithfulness",
            ),
        ),
    ),
    Table(
        "circuit_curves.csv",
        "Faithfulness at the benchmark's shares of nodes: one row per direction, method, ranking "
        "and share.",
        (
            DIRECTION,
            CIRCUIT_METHOD,
            RANKED_BY,
            Column("share", "share", "The benchmark's share of nodes.", "cpr", "share of nodes"),
            Column("k", "count", "How many nodes that is, rounded down.", "circuit"),
            Column(
                "faithfulness",
                "share",
                "f of the circuit of the first k nodes, a ratio of means over pairs.",
                "circuit-faithfulness",
            ),
            *INTERVAL,
        ),
    ),
    Table(
        "circuit_areas.csv",
        "CPR and CMD: one row per direction, method, ranking and area.",
        (
            DIRECTION,
            CIRCUIT_METHOD,
            RANKED_BY,
            Column(
                "area",
                "",
                "Which area it is.",
                "cpr",
                says={"cpr": "under f: more is better", "cmd": "under |1 − f|: less is better"},
            ),
            Column("estimate", "1", "The area, over all pairs.", "cpr"),
            *INTERVAL,
            Column("n_nodes", "count", "Nodes that circuits are chosen from.", "circuit"),
            Column("n_pairs", "count", "Pairs that circuits are sought on.", "pair"),
        ),
    ),
    Table(
        "circuit_graph.json",
        "The model as the benchmark describes it: one record.",
        (
            Column("n_layers", "count", "Blocks of the model."),
            Column("n_heads", "count", "Query heads of a layer."),
            Column(
                "parallel_attn_mlp", "", "Whether an MLP reads what its layer's attention reads."
            ),
            Column("d_model", "count", "Width of the residual stream."),
        ),
    ),
)
