"""What a study is to be cited with: its software by release, and the papers of what it used.

Entries are BibTeX; `entries` chooses those of one study from its settings and tables. A method that
is not in the study is not in the list. Accents are TeX's, which every BibTeX reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from counterpoint.report.study_results import Results


@dataclass(frozen=True)
class Entry:
    """An entry of a bibliography: its kind (article, …), its key, and its fields in order."""

    kind: str
    key: str
    fields: Mapping[str, str]

    def text(self, **more: str) -> str:
        """The entry as BibTeX, with ``more`` fields after its own."""
        lines = [f"  {name} = {{{value}}}," for name, value in {**self.fields, **more}.items()]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


def _arxiv(key: str, author: str, title: str, year: int, number: str) -> Entry:
    """An entry of a preprint."""
    return Entry(
        "misc",
        key,
        {
            "author": author,
            "title": title,
            "year": str(year),
            "eprint": number,
            "archivePrefix": "arXiv",
            "url": f"https://arxiv.org/abs/{number}",
        },
    )


def _printed(
    kind: str, key: str, author: str, title: str, place: str, year: int, **more: str
) -> Entry:
    """An entry of an article (``place`` its journal), a talk's paper or a book (its publisher)."""
    named = {"article": "journal", "inproceedings": "booktitle", "book": "publisher"}[kind]
    fields = {"author": author, "title": title, named: place, "year": str(year)}
    return Entry(kind, key, fields | more)


PAPERS = {
    entry.key: entry
    for entry in (
        _printed(
            "inproceedings", "zhang2024patching", "Zhang, Fred and Nanda, Neel",
            "Towards Best Practices of Activation Patching in Language Models: Metrics and Methods",
            "International Conference on Learning Representations", 2024,
            eprint="2309.16042", archivePrefix="arXiv",
        ),
        _arxiv(
            "heimersheim2024patching", "Heimersheim, Stefan and Nanda, Neel",
            "How to use and interpret activation patching", 2024, "2404.15255",
        ),
        _printed(
            "inproceedings", "sundararajan2017ig",
            "Sundararajan, Mukund and Taly, Ankur and Yan, Qiqi",
            "Axiomatic Attribution for Deep Networks",
            "Proceedings of the 34th International Conference on Machine Learning", 2017,
            eprint="1703.01365", archivePrefix="arXiv",
        ),
        _arxiv(
            "kramar2024atpstar",
            r"Kram{\'a}r, J{\'a}nos and Lieberum, Tom and Shah, Rohin and Nanda, Neel",
            "{AtP*}: An efficient and scalable method for localizing {LLM} behaviour to components",
            2024, "2403.00745",
        ),
        _printed(
            "book", "trefethen2013approximation", "Trefethen, Lloyd N.",
            "Approximation Theory and Approximation Practice", "SIAM", 2013,
        ),
        _printed(
            "inproceedings", "meng2022locating",
            "Meng, Kevin and Bau, David and Andonian, Alex and Belinkov, Yonatan",
            "Locating and Editing Factual Associations in {GPT}",
            "Advances in Neural Information Processing Systems", 2022,
            eprint="2202.05262", archivePrefix="arXiv",
        ),
        _printed(
            "inproceedings", "wang2023ioi",
            "Wang, Kevin and Variengien, Alexandre and Conmy, Arthur and Shlegeris, Buck and "
            "Steinhardt, Jacob",
            "Interpretability in the Wild: a Circuit for Indirect Object Identification in {GPT-2} "
            "Small",
            "International Conference on Learning Representations", 2023,
            eprint="2211.00593", archivePrefix="arXiv",
        ),
        _arxiv(
            "goldowskydill2023path",
            "Goldowsky-Dill, Nicholas and MacLeod, Chris and Sato, Lucas and Arora, Aryaman",
            "Localizing Model Behavior with Path Patching", 2023, "2304.05969",
        ),
        _arxiv(
            "syed2023eap", "Syed, Aaquib and Rager, Can and Conmy, Arthur",
            "Attribution Patching Outperforms Automated Circuit Discovery", 2023, "2310.10348",
        ),
        _printed(
            "inproceedings", "hanna2024eapig",
            "Hanna, Michael and Pezzelle, Sandro and Belinkov, Yonatan",
            "Have Faith in Faithfulness: Going Beyond Circuit Overlap When Finding Model "
            "Mechanisms",
            "Conference on Language Modeling", 2024,
            eprint="2403.17806", archivePrefix="arXiv",
        ),
        _arxiv(
            "jafari2025relp",
            "Rezaei Jafari, Farnoush and Eberle, Oliver and Khakzar, Ashkan and Nanda, Neel",
            "{RelP}: Faithful and Efficient Circuit Discovery in Language Models via Relevance "
            "Patching",
            2025, "2508.21258",
        ),
        _arxiv(
            "zhang2026lies", "Zhang, Luyang and Wang, Jialu",
            "When Attribution Patching Lies: Diagnosis and a Second-Order Correction",
            2026, "2606.09899",
        ),
        _arxiv(
            "mueller2025mib", "Mueller, Aaron and Geiger, Atticus and Wiegreffe, Sarah and others",
            "{MIB}: A Mechanistic Interpretability Benchmark", 2025, "2504.13151",
        ),
        _printed(
            "inproceedings", "conmy2023acdc",
            "Conmy, Arthur and Mavor-Parker, Augustine and Lynch, Aengus and Heimersheim, Stefan "
            r"and Garriga-Alonso, Adri{\`a}",
            "Towards Automated Circuit Discovery for Mechanistic Interpretability",
            "Advances in Neural Information Processing Systems", 2023,
            eprint="2304.14997", archivePrefix="arXiv",
        ),
        _printed(
            "inproceedings", "wen2023pez",
            "Wen, Yuxin and Jain, Neel and Kirchenbauer, John and Goldblum, Micah and Geiping, "
            "Jonas and Goldstein, Tom",
            "Hard Prompts Made Easy: Gradient-Based Discrete Optimization for Prompt Tuning and "
            "Discovery",
            "Advances in Neural Information Processing Systems", 2023,
            eprint="2302.03668", archivePrefix="arXiv",
        ),
        _arxiv(
            "quinton2024jacobian", r"Quinton, Pierre and Rey, Val{\'e}rian",
            "Jacobian Descent for Multi-Objective Optimization", 2024, "2406.16232",
        ),
        _printed(
            "article", "desideri2012mgda", r"D{\'e}sid{\'e}ri, Jean-Antoine",
            "Multiple-gradient descent algorithm ({MGDA}) for multiobjective optimization",
            "Comptes Rendus Mathematique", 2012,
        ),
        _printed(
            "article", "deb2014nsga3", "Deb, Kalyanmoy and Jain, Himanshu",
            "An Evolutionary Many-Objective Optimization Algorithm Using Reference-Point-Based "
            "Nondominated Sorting Approach, Part {I}: Solving Problems With Box Constraints",
            "IEEE Transactions on Evolutionary Computation", 2014,
        ),
        _arxiv(
            "mouret2015mapelites", r"Mouret, Jean-Baptiste and Clune, Jeff",
            "Illuminating search spaces by mapping elites", 2015, "1504.04909",
        ),
        _printed(
            "article", "cameron2011clustering",
            "Cameron, A. Colin and Gelbach, Jonah B. and Miller, Douglas L.",
            "Robust Inference With Multiway Clustering",
            "Journal of Business \\& Economic Statistics", 2011, volume="29", pages="238--249",
        ),
        _printed(
            "article", "webber2010rbo", "Webber, William and Moffat, Alistair and Zobel, Justin",
            "A Similarity Measure for Indefinite Rankings",
            "ACM Transactions on Information Systems", 2010, volume="28", number="4",
        ),
        _printed(
            "article", "lin1989concordance", "Lin, Lawrence I-Kuei",
            "A Concordance Correlation Coefficient to Evaluate Reproducibility",
            "Biometrics", 1989, volume="45", pages="255--268",
        ),
        _printed(
            "article", "benjamini1995fdr", "Benjamini, Yoav and Hochberg, Yosef",
            "Controlling the False Discovery Rate: A Practical and Powerful Approach to Multiple "
            "Testing",
            "Journal of the Royal Statistical Society B", 1995, volume="57", pages="289--300",
        ),
    )
}  # fmt: skip
"""The papers of every method, by their keys."""

SOFTWARE = {
    "torch": _printed(
        "inproceedings", "pytorch", "Paszke, Adam and Gross, Sam and Massa, Francisco and others",
        "{PyTorch}: An Imperative Style, High-Performance Deep Learning Library",
        "Advances in Neural Information Processing Systems", 2019,
        eprint="1912.01703", archivePrefix="arXiv",
    ),
    "transformers": _printed(
        "inproceedings", "transformers", "Wolf, Thomas and Debut, Lysandre and Sanh, Victor and "
        "others",
        "Transformers: State-of-the-Art Natural Language Processing",
        "Proceedings of the 2020 Conference on Empirical Methods in Natural Language Processing: "
        "System Demonstrations", 2020,
        eprint="1910.03771", archivePrefix="arXiv",
    ),
    "transformer-lens": Entry(
        "misc", "transformerlens",
        {
            "author": "Nanda, Neel and Bloom, Joseph", "title": "{TransformerLens}",
            "year": "2022", "url": "https://github.com/TransformerLensOrg/TransformerLens",
        },
    ),
    "captum": _arxiv(
        "captum", "Kokhlikyan, Narine and Miglani, Vivek and Martin, Miguel and others",
        "Captum: A unified and generic model interpretability library for {PyTorch}",
        2020, "2009.07896",
    ),
    "snakemake": _printed(
        "article", "snakemake",
        r"M{\"o}lder, Felix and Jablonski, Kim Philipp and Letcher, Brice and others",
        "Sustainable data analysis with {Snakemake}", "F1000Research", 2021,
        volume="10", number="33",
    ),
    "numpy": _printed(
        "article", "numpy", "Harris, Charles R. and Millman, K. Jarrod and others",
        "Array programming with {NumPy}", "Nature", 2020, volume="585", pages="357--362",
    ),
    "scipy": _printed(
        "article", "scipy", "Virtanen, Pauli and Gommers, Ralf and others",
        "{SciPy} 1.0: Fundamental Algorithms for Scientific Computing in {Python}",
        "Nature Methods", 2020, volume="17", pages="261--272",
    ),
    "pymoo": _printed(
        "article", "pymoo", "Blank, Julian and Deb, Kalyanmoy",
        "pymoo: Multi-Objective Optimization in {Python}", "IEEE Access", 2020,
        volume="8", pages="89497--89509",
    ),
}  # fmt: skip
"""The papers of packages, by the packages' names."""

ONLY_WITH = {"pymoo": "evolution"}
"""Packages that only a method of search needs."""


def entries(results: Results) -> list[str]:
    """Return the entries for a study: Counterpoint, its packages by release, its methods' papers.

    Packages are those whose release the study's provenance has.
    """
    known = results.provenance.get("packages", {})
    methods = _methods(results)
    wanted = [
        name
        for name in SOFTWARE
        if name in known and (name not in ONLY_WITH or ONLY_WITH[name] in methods)
    ]
    return [
        _counterpoint(results),
        *(SOFTWARE[name].text(note=f"Version {known[name]}") for name in wanted),
        *(PAPERS[key].text() for key in dict.fromkeys(_papers(results, methods))),
    ]


def _counterpoint(results: Results) -> str:
    made = results.provenance
    fields = {
        "author": "{The Counterpoint maintainers}",
        "title": "Counterpoint: output curves, attribution and counterfactual prompts for "
        "attention heads",
    }
    if made.get("date"):
        fields["year"] = str(made["date"])[:4]
    said = [
        *([f"Version {made['counterpoint']}"] if made.get("counterpoint") else []),
        *([f"commit {made['commit']}"] if made.get("commit") else []),
    ]
    if said:
        fields["note"] = ", ".join(said)
    return Entry("misc", "counterpoint", fields).text()


def _methods(results: Results) -> Sequence[str]:
    """The methods of search that found pairs in this study."""
    return list(dict.fromkeys(name for one in results.generated for name in one.methods))


def _papers(results: Results, methods: Sequence[str]) -> Iterator[str]:
    """The keys of the papers of what the study used, in order."""
    settings = results.settings
    yield from ("zhang2024patching", "heimersheim2024patching", "sundararajan2017ig")
    if {"atp", "atp_star"} & set(results.heads):
        yield "kramar2024atpstar"
    if _inner(settings, "curves").get("nodes") == "adaptive":
        yield "trefethen2013approximation"
    if results.positions is not None or results.position_curves is not None:
        yield from ("meng2022locating", "wang2023ioi")
    if _is_ioi(settings):
        yield "wang2023ioi"
    edges = results.edges is not None
    first_order = edges and bool(_inner(settings, "edges").get("first_order"))
    circuits = results.circuits is not None or results.edge_circuits is not None
    if edges or circuits:
        yield from ("wang2023ioi", "goldowskydill2023path")
    if first_order or circuits:
        yield from ("syed2023eap", "hanna2024eapig")
    for column, key in (
        ("eap_ig", "hanna2024eapig"),
        ("relp", "jafari2025relp"),
        ("atp_hvp", "zhang2026lies"),
    ):
        if column in results.heads:
            yield key
    if circuits:
        yield from ("mueller2025mib", "conmy2023acdc")
    yield from _search_papers(results, methods)
    if results.heads["pair"].nunique() > 1:
        yield "cameron2011clustering"
    if results.stability is not None:
        yield "webber2010rbo"
    if results.claims is not None:
        yield "lin1989concordance"
    if results.correlations is not None:
        yield "benjamini1995fdr"


def _search_papers(results: Results, methods: Sequence[str]) -> Iterator[str]:
    if {"evolution", "descent"} & set(methods):
        yield "wen2023pez"
    if "evolution" in methods:
        yield "deb2014nsga3"
    if "descent" in methods:
        own = _inner(_inner(_inner(results.settings, "counterfactuals"), "settings"), "descent")
        yield "desideri2012mgda" if own.get("aggregator") == "mgda" else "quinton2024jacobian"
    if results.atlas is not None:
        yield "mouret2015mapelites"


def _inner(settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = settings.get(key)
    return found if isinstance(found, Mapping) else {}


def _is_ioi(settings: Mapping[str, Any]) -> bool:
    """Whether the pairs are of the shipped sets of indirect object identification."""
    return str(settings.get("pairs", "")).replace("\\", "/").rpartition("/")[2].startswith("ioi.")
