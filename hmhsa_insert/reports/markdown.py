"""A table in Markdown that can also be read as it is: cells padded, numbers aligned right."""

from __future__ import annotations

from textwrap import wrap

from hmhsa_insert.inert import markdown, markdown_start
from hmhsa_insert.tables import Table, TableRow


def to_markdown(table: Table) -> str:
    """Return `table` as GitHub Markdown, its notes as a list below it."""
    table = table.shown()
    lines = [[markdown(header.text) for header in table.headers], *map(_line, table.rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.headers))]
    right = [header.numeric for header in table.headers]
    rule = [
        "-" * (width - 1) + ":" if numeric else "-" * width
        for width, numeric in zip(widths, right, strict=True)
    ]
    text = [f"## {markdown(table.title)}", ""] if table.title else []
    for line in (lines[0], rule, *lines[1:]):
        padded = (
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(line, widths, right, strict=True)
        )
        text.append(f"|{'|'.join(padded)}|")
    if table.notes:
        text += ["", *map(_item, table.notes)]
    return "\n".join(text) + "\n"


def _line(row: TableRow) -> list[str]:
    first, *others = (markdown(cell.text) for cell in row.cells)
    return [f"{first} [{row.mark}]" if row.mark else first, *others]


def _item(note: str) -> str:
    """Return a note as an item of a list; a line of it that begins like a heading begins none."""
    # Words stay whole: an escape cut in two would set free what it holds.
    lines = wrap(markdown(note), 78, break_long_words=False, break_on_hyphens=False)
    return "- " + "\n  ".join(map(markdown_start, lines))
