"""A table in LaTeX as papers set it: booktabs rules, no vertical lines, groups set apart."""

from __future__ import annotations

import re
from itertools import pairwise

from hmhsa_insert.reports.table import Row, Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "Δ": r"$\Delta$",
    "×": r"$\times$",
    "–": "--",
    "…": r"\ldots{}",
}
_PATTERN = re.compile("|".join(map(re.escape, _SPECIAL)))
# A hyphen in front of a number is a minus sign.
_NEGATIVE = re.compile(r"^-(?=\d)")


def to_latex(table: Table) -> str:
    r"""Return `table` as a LaTeX ``table`` with ``\usepackage{booktabs}``, its notes below it."""
    columns = "".join("r" if header.numeric else "l" for header in table.headers)
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        *([rf"\caption{{{_escaped(table.title)}}}"] if table.title else []),
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(_escaped(header.text) for header in table.headers) + r" \\",
        r"\midrule",
        *_body(table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\smallskip{{\footnotesize {_escaped(note)}}}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _body(rows: tuple[Row, ...]) -> list[str]:
    lines = [_line(row) for row in rows[:1]]
    for before, row in pairwise(rows):
        if before.group != row.group:
            lines.append(r"\addlinespace")
        lines.append(_line(row))
    return lines


def _line(row: Row) -> str:
    first, *others = (_escaped(cell.text) for cell in row.cells)
    if row.mark:
        first += rf"\textsuperscript{{{row.mark}}}"
    return " & ".join([first, *others]) + r" \\"


def _escaped(text: str) -> str:
    written = _PATTERN.sub(lambda match: _SPECIAL[match.group()], " ".join(text.split()))
    return _NEGATIVE.sub("$-$", written)
