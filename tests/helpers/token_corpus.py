"""Texts on which tokenizers differ: numbers, lists, code, spaces, line ends, scripts, marks."""

from __future__ import annotations

import random
import unicodedata

_SOME = """
the of and to in is was for on that with as it by at from his he be this are or an had which not
have were they Paris France Mary John capital river Analysis don't we've I'm they'll she'd O'Neill
CAN'T it'S x1 camelCase snake_case HTTPServer naïve Übermut façade coöperate
"""
WORDS = tuple(_SOME.split())
SCRIPTS = (
    "中文字符", "東京は大きい", "한국어 문장", "Привет мир", "γειά σου", "שלום", "مرحبا بالعالم",
    "नमस्ते दुनिया", "สวัสดี", "বাংলা", "Tiếng Việt", "ﬁligree", "１２３", "½ ¾", "①②", "Ⅳ", "٣٤٥",
    "e\u0301te\u0301", "👩‍👩‍👧‍👦", "🇫🇷", "😀😀", "†‡§", "“quoted”", "‘it’s’", "—–…", "€£¥", "×÷±",
    "ſ", "'ſ",
)  # fmt: skip
SPACES = (
    " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n", "\n ", "\u00a0", "\u2003", "\u3000", "",
)  # fmt: skip
SIGNS = (*"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "...", "==", "!=", "->", "**", "##", "://")


def _number(draw: random.Random) -> str:
    size = 10 ** draw.randint(0, 9)
    number = draw.randint(0, size)
    return draw.choice(
        (f"{number}", f"{number:,}", f"{number / 7:.3f}", f"-{number}", f"0x{number:x}",
         f"{number}%", f"{number:05d}", f"19{draw.randint(10, 99)}", f"{number}th", f"${number}")
    )  # fmt: skip


def _list(draw: random.Random) -> str:
    start, mark = draw.randint(1, 120), draw.choice((".", ")", ":", " -"))
    before = draw.choice(("Facts:\n\n", "\n\n", "\n", " \n", ""))
    lines = (f"{start + i}{mark} {draw.choice(WORDS)}" for i in range(draw.randint(1, 4)))
    return before + draw.choice(("\n", "\n\n", "\r\n")).join(lines)


def _code(draw: random.Random) -> str:
    deep = draw.choice(("\t", "    ", "  ")) * draw.randint(0, 4)
    name, other = draw.choice(WORDS), draw.choice(WORDS)
    return draw.choice(
        (f"def {name}({other}=None):\n{deep}return {{'{name}': [{_number(draw)}]}}\n",
         f"{deep}for (int i=0; i<{_number(draw)}; ++i) {{\n{deep}\t{name}[i] += {other};\n}}\n",
         f"<a href=\"https://{name}.org/{other}?q={_number(draw)}\">{name}</a>",
         f"{deep}# {name}\n\n\n{deep}if {name}!={other}:  pass",
         f"SELECT {name}, COUNT(*) FROM {other} WHERE id>={_number(draw)};")
    )  # fmt: skip


def _words(draw: random.Random) -> str:
    text = ""
    for _ in range(draw.randint(1, 8)):
        word = draw.choice(WORDS)
        text += draw.choice((word, word, word.upper(), word.capitalize()))
        text += draw.choice((" ", " ", " ", *SPACES, *SIGNS))
    return text


def _mixture(draw: random.Random) -> str:
    kinds = (WORDS, SCRIPTS, SPACES, SIGNS)
    parts = (
        _number(draw) if draw.random() < 0.2 else draw.choice(draw.choice(kinds))
        for _ in range(draw.randint(1, 14))
    )
    return "".join(parts)


def corpus(n: int, seed: int = 0, *, composed: bool = False) -> list[str]:
    """``n`` texts, the same ones for the same seed; ``composed``: in Unicode's form NFC."""
    draw = random.Random(seed)
    kinds = (_number, _list, _code, _words, _mixture, _mixture)
    texts = []
    for number in range(n):
        text = kinds[number % len(kinds)](draw)
        if draw.random() < 0.3:
            text = draw.choice(SPACES) + text
        if draw.random() < 0.3:
            text += draw.choice(SPACES)
        texts.append(unicodedata.normalize("NFC", text) if composed else text)
    return texts
