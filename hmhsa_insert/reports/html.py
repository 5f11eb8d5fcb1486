"""One page that holds everything: tables whose columns sort, and the plots. It loads nothing from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from importlib import resources

from hmhsa_insert.inert import html as escape
from hmhsa_insert.reports.drawings import NetworkDrawing
from hmhsa_insert.reports.listing import Listing
from hmhsa_insert.reports.plots import Plot
from hmhsa_insert.tables import Header, Table, TableRow

# Texts of more characters than these wrap.
_LONG = 40
# What the page may do: run its own script and style, show images it carries. Nothing else, should a name be hostile.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def to_html(title: str, sections: Iterable[Table | Listing | Plot | NetworkDrawing]) -> str:
    """Return a self-contained page with `sections` in their order; all text in them is escaped.

    Args:
        title: of the page.
        sections: tables, text, plots and drawings of networks.
    """
    body = [_section(part, title) for part in sections]
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{_asset('page.css')}</style>",
        "</head>",
        "<body>",
        f"<h1>{escape(title)}</h1>",
        *body,
        f"<script>\n{_asset('page.js')}</script>",
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"


def _section(part: Table | Listing | Plot | NetworkDrawing, page_title: str) -> str:
    if isinstance(part, Listing | NetworkDrawing):
        return part.to_html()
    return _table(part.shown(), page_title) if isinstance(part, Table) else _plot(part)


def _table(table: Table, page_title: str) -> str:
    around, heading = ("details", "summary") if table.folded else ("section", "h2")
    has_own = table.title not in ("", page_title) or table.folded
    title = f"<{heading}>{escape(table.title)}</{heading}>" if has_own else ""
    lines = [f"<{around}>", title, '<div class="wide">', "<table>", "<thead>", "<tr>"]
    lines += map(_header, table.headers)
    lines += ["</tr>", "</thead>", "<tbody>"]
    before = None
    for row in table.rows:
        lines.append(_row(row, table.headers, starts_group=row.group != before))
        before = row.group
    lines += ["</tbody>", "</table>", "</div>"]
    if table.notes:
        lines += ["<ul>", *(f"<li>{escape(note)}</li>" for note in table.notes), "</ul>"]
    return "\n".join(line for line in [*lines, f"</{around}>"] if line)


def _header(header: Header) -> str:
    kind = "number" if header.numeric else "text"
    return f'<th scope="col" class="{kind}" aria-sort="none"><button type="button">{escape(header.text)}</button></th>'


def _row(row: TableRow, headers: Sequence[Header], *, starts_group: bool) -> str:
    names = ["group"] * starts_group + ["published"] * bool(row.mark)
    cells = []
    for place, (cell, header) in enumerate(zip(row.cells, headers, strict=True)):
        mark = f"<sup>[{escape(row.mark)}]</sup>" if row.mark and place == 0 else ""
        # Short texts stay in one line.
        kind = "number" if header.numeric else "text" if len(cell.text) > _LONG else "text short"
        value = "" if cell.value is None else escape(cell.value)
        cells.append(f'<td class="{kind}" data-value="{value}">{escape(cell.text)}{mark}</td>')
    return f'<tr class="{" ".join(names)}">{"".join(cells)}</tr>'


def _plot(plot: Plot) -> str:
    # As an image, because the ids inside two SVGs would collide in one page.
    data = base64.b64encode(plot.svg.encode()).decode()
    caption = escape(plot.caption)
    image = f'<img src="data:image/svg+xml;base64,{data}" alt="{caption}">'
    return f'<figure>\n<div class="wide">{image}</div>\n<figcaption>{caption}</figcaption>\n</figure>'


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
