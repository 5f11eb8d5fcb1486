"""A table in Markdown that can also be read as it is: cells padded, numbers aligned right."""

from __future__ import annotations

from textwrap import fill

from hmhsa_insert.reports.table import Row, Table


def to_markdown(table: Table) -> str:
    """Return `table` as GitHub Markdown, its notes as a list below it."""
    lines = [[_escaped(header.text) for header in table.headers], *map(_line, table.rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.headers))]
    right = [header.numeric for header in table.headers]
    rule = [
        "-" * (width - 1) + ":" if numeric else "-" * width
        for width, numeric in zip(widths, right, strict=True)
    ]
    text = [f"## {_escaped(table.title)}", ""] if table.title else []
    for line in (lines[0], rule, *lines[1:]):
        padded = (
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(line, widths, right, strict=True)
        )
        text.append(f"|{'|'.join(padded)}|")
    if table.notes:
        text += [
            "",
            *(fill(_escaped(note), 80, initial_indent="- ", subsequent_indent="  ") for note in table.notes),
        ]
    return "\n".join(text) + "\n"


def _line(row: Row) -> list[str]:
    first, *others = (_escaped(cell.text) for cell in row.cells)
    return [f"{first} [{row.mark}]" if row.mark else first, *others]


def _escaped(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, and a cell stays one cell."""
    for special in "\\|`*<":
        text = text.replace(special, f"\\{special}")
    return " ".join(text.split())
