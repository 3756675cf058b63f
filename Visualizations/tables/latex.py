r"""Tables in LaTeX that need booktabs alone, and text from outside in them.

What pdfLaTeX typesets without further packages is kept: ASCII, and letters with accents and punctuation, which become
commands (`\'{e}`). Every other character becomes a visible escape: 長 is shown as \u9577.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from Activation_Extraction.base.text import printable

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': r"\char34{}",  # babel gives the character itself a meaning
    "[": "{[}", "]": "{]}", "*": "{*}",  # \\[ and \\* are commands
}  # fmt: skip
_LIGATURE = re.compile("(?<=[-'`,!?])(?=[-'`,])")
_FURTHER = {
    "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}",
    "Ł": r"\L{}", "ı": r"\i{}", "–": r"\textendash{}", "—": r"\textemdash{}", "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}", "“": r"\textquotedblleft{}", "”": r"\textquotedblright{}", "…": r"\textellipsis{}",
    "·": r"\textperiodcentered{}", "•": r"\textbullet{}", "¡": r"\textexclamdown{}", "¿": r"\textquestiondown{}",
    "−": r"\ensuremath{-}", "×": r"\ensuremath{\times}", "±": r"\ensuremath{\pm}", "≤": r"\ensuremath{\leq}",
    "≥": r"\ensuremath{\geq}", "½": r"\ensuremath{\frac{1}{2}}", "λ": r"\ensuremath{\lambda}",
}  # fmt: skip
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".", "\u0308": '"',
    "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c", "\u0323": "d",
}  # fmt: skip
MISSING = r"\textendash{}"


def in_latex(text: object) -> str:
    r"""Text for LaTeX, in one line and without a meaning.

    >>> print(in_latex("50% of_{é}"), in_latex("長"))
    50\% of\_\{\'{e}\} \textbackslash{}u9577
    """
    shown = unicodedata.normalize("NFC", printable(text))
    parts = _LIGATURE.split(shown)  # -- would become a dash
    return "{}".join("".join(map(_character, part)) for part in parts).replace("  ", r" \ ")


def _character(character: str) -> str:
    if known := _SPECIAL.get(character) or _FURTHER.get(character):
        return known
    if character.isascii():
        return character
    base, *marks = list(unicodedata.normalize("NFD", character))
    if len(marks) == 1 and marks[0] in _ACCENTS and base.isascii() and base.isalpha():
        return f"\\{_ACCENTS[marks[0]]}{{{base}}}"
    return in_latex(character.encode("unicode_escape").decode())


def marked(cell: str, marks: str) -> str:
    """A cell with superscripts."""
    return f"{cell}\\textsuperscript{{{marks}}}" if marks else cell


def table(
    name: str, alignment: str, head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, notes: Sequence[str]
) -> str:
    r"""A `table` to `\input`; every text in it is LaTeX already.

    Args:
        name: of its label, `tab:<name>`.
        alignment: of the columns: "rll".
    """
    lines = [
        r"% needs \usepackage{booktabs}", r"\begin{table}", r"\centering", f"\\caption{{{caption}}}", f"\\label{{tab:{name}}}",
        r"\footnotesize", r"\setlength{\tabcolsep}{3pt}", f"\\begin{{tabular}}{{@{{}}{alignment}@{{}}}}", r"\toprule",
        " & ".join(head) + r" \\", r"\midrule", *(" & ".join(row) + r" \\" for row in rows), r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip
    if notes:
        lines += [r"\par\smallskip", r"\begin{minipage}{\linewidth}", r"\raggedright\scriptsize"]
        lines += [rf"{note}\par" for note in notes] + [r"\end{minipage}"]
    return "\n".join([*lines, r"\end{table}", ""])
