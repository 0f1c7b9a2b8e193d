"""Small pieces of HTML in which everything that is not markup is escaped.

Prompts, answers, paths and reasons come from users and models, so no text is trusted: a
`Fragment` is built only by `fill`, `join` and the functions below, which escape whatever is not
itself a fragment (markupsafe's rule).
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Self

from markupsafe import Markup, escape

from counterpoint.glossary import WORDS

NOTHING = "\N{EM DASH}"

LONGEST_NAME = 40
"""A row's first cell that is longer is a sentence."""

ADDRESS = {"%": "%25", "#": "%23", "&": "&amp;", '"': "&quot;"}
"""How letters are written in an address in a quoted attribute of HTML."""


class Fragment(Markup):
    """HTML that a notebook shows as it is; its plain-text form is a short note."""

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": str(self), "text/plain": f"<{len(self)} characters of HTML>"}

    @classmethod
    def escape(cls, s: Any, /) -> Self:
        """Return ``s`` escaped, or as it is when it is already markup."""
        return cls(escape(s))


def fill(template: str, *values: Any, **named: Any) -> Fragment:
    """Return ``template`` (trusted HTML) with its ``{}`` fields filled and escaped."""
    return Fragment(Markup(template).format(*values, **named))


def join(parts: Iterable[Any], between: str = "") -> Fragment:
    """Return the escaped ``parts``, with trusted HTML ``between`` them."""
    return Fragment(Markup(between).join(escape(part) for part in parts))


def number(value: Any, digits: int = 3) -> str:
    """Return a number for reading: fixed point, or powers of ten where that would show only 0.

    None and NaN give a dash, infinities "∞". A program can read what is copied: the sign is the
    hyphen-minus of ASCII.
    """
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    value = float(value) + 0.0  # no 0 has a sign
    if math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value != 0 and abs(value) < 0.5 * 10.0**-digits:
        return f"{value:.1e}"
    return f"{value:.{digits}f}"


def count(value: Any) -> str:
    """Return a whole number, a dash for a missing one; nothing stands between its digits."""
    if value is None or not math.isfinite(float(value)):
        return NOTHING
    return f"{int(value)}"


def interval(estimate: Any, low: Any, high: Any, digits: int = 2) -> Fragment:
    """Return "estimate [low, high]", without the brackets where an end is missing."""
    text = fill("{}", number(estimate, digits))
    ends = [float(end) if end is not None else math.nan for end in (low, high)]
    if all(math.isfinite(end) for end in ends):
        text += fill(
            ' <span class="interval">[{}, {}]</span>',
            number(ends[0], digits),
            number(ends[1], digits),
        )
    return Fragment(text)


def p_value(value: Any) -> str:
    """Return a p-value for reading."""
    if value is None or math.isnan(float(value)):
        return NOTHING
    return "< 0.001" if float(value) < 0.001 else f"{float(value):.3f}"


def paragraph(*parts: Any) -> Fragment:
    """Return a paragraph of the parts."""
    return fill("<p>{}</p>", join(parts))


def note(*parts: Any) -> Fragment:
    """Return a quiet remark."""
    return fill('<p class="note">{}</p>', join(parts))


def heading(anchor: str, title: str, level: int = 2) -> Fragment:
    """Return a heading with the anchor that the contents list and other sections use."""
    return fill(f'<h{level} id="{{}}">{{}}</h{level}>', anchor, title)


def word(key: str, text: str | None = None) -> Fragment:
    """Return a link to a word of the glossary, shown as ``text`` (default: the word itself)."""
    return fill('<a class="word" href="#word-{}">{}</a>', key, text or WORDS[key].name)


def table(
    header: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    *,
    caption: Any = "",
    text: Sequence[int] = (0,),
    highlighted: Sequence[int] = (),
) -> Fragment:
    """Return a table that scrolls sideways by itself where the screen is too narrow for it.

    ``text`` names the columns that hold text (set flush left; the others are numbers); the first
    cell of a row is its header. ``highlighted`` are the numbers of rows to set off.
    """
    kinds = ["text" if column in text else "number" for column in range(len(header))]
    head = join(
        fill('<th scope="col" class="{}">{}</th>', kind, cell)
        for kind, cell in zip(kinds, header, strict=True)
    )
    body = []
    for place, row in enumerate(rows):
        cells = [
            fill('<th scope="row" class="{}">{}</th>', _row_header(kind, cell), cell)
            if column == 0
            else fill('<td class="{}">{}</td>', kind, cell)
            for column, (kind, cell) in enumerate(zip(kinds, row, strict=True))
        ]
        mark = Fragment(' class="highlighted"' if place in highlighted else "")
        body.append(fill("<tr{}>{}</tr>", mark, join(cells)))
    title = fill("<caption>{}</caption>", caption) if caption else Fragment("")
    return fill(
        '<div class="scroll"><table>{}<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>',
        title,
        head,
        join(body),
    )


def _row_header(kind: str, cell: Any) -> str:
    """The classes of a row's first cell: a name stays on one line, a sentence may be broken."""
    return f"{kind} sentence" if len(escape(cell).striptags()) > LONGEST_NAME else kind


def folded(summary: Any, body: Any, *, opened: bool = False) -> Fragment:
    """Return a part that the reader can open and close (open in print)."""
    state = Fragment(" open" if opened else "")
    return fill("<details{}><summary>{}</summary>{}</details>", state, summary, body)


def image(content: bytes, kind: str, alt: str) -> Fragment:
    """Return an image held in the page itself; ``kind`` is "svg+xml" or "png".

    An SVG in an `img` cannot run scripts or load anything. It is held as text, which takes a
    quarter less than base64: what means something in an address or in HTML is escaped.
    """
    if kind == "svg+xml":
        text = re.sub(r"<\?xml.*?\?>", "", content.decode("utf-8")).replace("\n", " ")
        data = "," + "".join(ADDRESS.get(letter, letter) for letter in text)
    else:
        data = f";base64,{base64.b64encode(content).decode('ascii')}"
    return fill('<img src="data:image/{}{}" alt="{}">', kind, Markup(data), alt)


def figure(path: Path, alt: str, caption: Any) -> Fragment:
    """Return a figure from an SVG file with its caption."""
    return captioned(image(path.read_bytes(), "svg+xml", alt), caption)


def captioned(picture: Fragment, caption: Any) -> Fragment:
    """Return an image with its caption; on a narrow screen it scrolls sideways by itself."""
    return fill(
        '<figure><div class="scroll">{}</div><figcaption>{}</figcaption></figure>',
        picture,
        caption,
    )


def tiles(entries: Iterable[tuple[Any, Any, Any]]) -> Fragment:
    """Return a row of key numbers: (name, value, remark)."""
    return fill(
        '<dl class="tiles">{}</dl>',
        join(
            fill(
                "<div><dt>{}</dt><dd><strong>{}</strong><span>{}</span></dd></div>",
                name,
                value,
                remark,
            )
            for name, value, remark in entries
        ),
    )


def prompt(text: Any) -> Fragment:
    """Return a prompt as it stands, its spaces kept."""
    return fill('<code class="prompt">{}</code>', text)


def answer(text: Any) -> Fragment:
    """Return an answer as it stands, its spaces kept."""
    return fill('<code class="prompt short">{}</code>', text)


def _marked(token: str, others: str = "") -> Fragment:
    """Return a token marked, its leading spaces left outside unless they are the difference."""
    bare = token.lstrip()
    if not bare or bare == others.lstrip():
        bare = token
    return fill("{}<mark>{}</mark>", token[: len(token) - len(bare)], bare)


def small(value: Any) -> str:
    """Return an error or rounding size as a power of ten."""
    value = float(value)
    if not math.isfinite(value) or value == 0:
        return number(value, 0)
    return f"{value:.1e}"


def marked_difference(first: Sequence[str], second: Sequence[str]) -> tuple[Fragment, Fragment]:
    """Return two token sequences as prompts in which the tokens that differ are marked.

    Sequences of one length are compared place by place (as the pairs are patched), others by
    their longest common blocks.
    """
    if len(first) == len(second):
        blocks = [(i, i, 1) for i, (a, b) in enumerate(zip(first, second, strict=True)) if a == b]
    else:
        matcher = SequenceMatcher(None, first, second, autojunk=False)
        blocks = [(b.a, b.b, b.size) for b in matcher.get_matching_blocks()]
    same = [
        {place for start, _, size in blocks for place in range(start, start + size)},
        {place for _, start, size in blocks for place in range(start, start + size)},
    ]
    shown = []
    paired = len(first) == len(second)
    for tokens, others, kept in ((first, second, same[0]), (second, first, same[1])):
        parts = [
            escape(token) if place in kept else _marked(token, others[place] if paired else "")
            for place, token in enumerate(tokens)
        ]
        shown.append(fill('<code class="prompt">{}</code>', join(parts)))
    return shown[0], shown[1]


def marked_alignment(
    first: Sequence[str], second: Sequence[str], partner: Sequence[int]
) -> tuple[Fragment, Fragment]:
    """Return two token sequences as prompts, of which ``partner`` says what belongs together.

    It has for each token of the first the place of its partner in the second, −1 without one.
    Tokens that differ from their partner are marked, those without one in another way.
    """
    back = {other: own for own, other in enumerate(partner) if other >= 0}
    others = (
        [second[place] if place >= 0 else None for place in partner],
        [first[back[place]] if place in back else None for place in range(len(second))],
    )
    shown = []
    for tokens, beside in zip((first, second), others, strict=True):
        parts = [
            _unaligned(token)
            if other is None
            else escape(token)
            if token == other
            else _marked(token, other)
            for token, other in zip(tokens, beside, strict=True)
        ]
        shown.append(fill('<code class="prompt">{}</code>', join(parts)))
    return shown[0], shown[1]


def _unaligned(token: str) -> Fragment:
    """Return a token that belongs to none of the other prompt, its leading spaces left outside."""
    bare = token.lstrip(" ")
    return fill('{}<span class="unaligned">{}</span>', token[: len(token) - len(bare)], bare)
