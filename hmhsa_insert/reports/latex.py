"""A table in LaTeX as papers set it: booktabs rules, no vertical lines, groups set apart."""

from __future__ import annotations

from itertools import pairwise

from hmhsa_insert.inert import latex
from hmhsa_insert.tables import Table, TableRow


def to_latex(table: Table) -> str:
    r"""Return `table` as a LaTeX ``table`` with ``\usepackage{booktabs}``, its notes below it."""
    table = table.shown()
    columns = "".join("r" if header.numeric else "l" for header in table.headers)
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        *([rf"\caption{{{latex(table.title)}}}"] if table.title else []),
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(latex(header.text) for header in table.headers) + r" \\",
        r"\midrule",
        *_body(table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\smallskip{{\footnotesize {latex(note)}}}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _body(rows: tuple[TableRow, ...]) -> list[str]:
    lines = [_line(row) for row in rows[:1]]
    for before, row in pairwise(rows):
        if before.group != row.group:
            lines.append(r"\addlinespace")
        lines.append(_line(row))
    return lines


def _line(row: TableRow) -> str:
    first, *others = (latex(cell.text) for cell in row.cells)
    if first.startswith(("[", "*")):  # else the options of the \\ before it
        first = f"{{}}{first}"
    if row.mark:
        first += rf"\textsuperscript{{{row.mark}}}"
    return " & ".join([first, *others]) + r" \\"
