r"""Escape text from files, one function per output format, so that it is shown and never interpreted.

A recipe, a record or a folder may come from anyone, and its names end up on a terminal, in Markdown, CSV,
LaTeX, HTML and JSON. Each function takes text as it was found and returns text that its format shows
literally. All of them do what :func:`visible` does, because each of these outputs may be read on a terminal.
"""

from __future__ import annotations

import html as _html
import json
import math
import re
from collections.abc import Iterable
from typing import Any

# Controls (C0, DEL, C1), characters that reorder or hide text, line separators, surrogates, tags. The two
# joiners are kept: scripts and emoji need them.
_LIVE = (
    "\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
_ANY = re.compile(f"[{_LIVE}]")
_ANY_BUT_NEWLINE = re.compile(f"(?!\n)[{_LIVE}]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: object, *, lines: bool = False) -> str:
    """Return `text` for a terminal, with control and reordering characters escaped as in Python.

    Args:
        text: as it was found; the ``str`` of any other object.
        lines: keep line breaks, for our own text that contains names.
    """
    return (_ANY_BUT_NEWLINE if lines else _ANY).sub(_as_python, str(text))


def _as_python(found: re.Match[str]) -> str:
    code = ord(found[0])
    short = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return _SHORT.get(found[0], short)


def json_text(value: Any, **options: Any) -> str:
    """Return plain data as JSON whose strings are safe to show; reading it gives the same data.

    An exception are lone surrogates, which file names that are not UTF-8 contain: they are written as shown.

    Args:
        value: the data.
        options: for ``json.dumps``.
    """
    return _ANY_BUT_NEWLINE.sub(_as_json, json.dumps(value, ensure_ascii=False, **options))


def _as_json(found: re.Match[str]) -> str:
    if "\ud800" <= found[0] <= "\udfff":
        return json.dumps(_as_python(found))[1:-1]
    return json.dumps(found[0])[1:-1]  # a pair of escapes for characters above U+FFFF


# Excel also takes the full-width forms.
_FORMULA = tuple("=+-@＝＋－＠")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?%?")


def csv_text(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a table as CSV without formulas; numbers are written by ``str``, None and NaN are empty."""
    return "".join(",".join(map(_csv_cell, row)) + "\n" for row in (header, *rows))


def _csv_cell(value: Any) -> str:
    if not isinstance(value, str):
        return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)
    text = visible(value)
    if text.lstrip().startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        text = f"'{text}"
    # A semicolon separates cells in locales with a decimal comma.
    return '"' + text.replace('"', '""') + '"' if re.search('[,;"]', text) else text


# What Markdown interprets: code, emphasis, links and images, HTML, entities, formulas, cells of a table.
_MARKDOWN = re.compile(
    r"[\\|`*<~$]"
    r"|\[(?!\d+\](?![(\[:]))"  # but "[1]" is how a report marks its sources
    r"|(?<![^\W_])_|_(?![^\W_])"  # inside a word an underscore is literal
    r"|&(?=#?\w+;)"
)
# GitHub makes links of such words, even with escapes in them, but not inside code.
_LINK = re.compile(r"\S*(?:[a-z]:/|\bwww\.|\bmailto:|\bxmpp:|\S@|@\S)\S*", re.IGNORECASE)
# "#MACs" is a heading to Python-Markdown, which makes the site, and none to GitHub.
_BLOCK = re.compile(r"(\d*)([.)](?= |$)|#|>|[-+](?= |$)|=(?==*$)|-(?=-*$))")


def markdown(text: str) -> str:
    """Return `text` so that Markdown shows it literally: one line, no link, image or HTML, one table cell."""
    line = visible(" ".join(text.split()))
    parts, end = [], 0
    for found in _LINK.finditer(line):
        parts += [_MARKDOWN.sub(r"\\\g<0>", line[end : found.start()]), markdown_code(found[0])]
        end = found.end()
    return "".join([*parts, _MARKDOWN.sub(r"\\\g<0>", line[end:])])


def markdown_start(line: str) -> str:
    """Return a line from :func:`markdown`, escaped so that it starts no heading, list, quote or rule."""
    return _BLOCK.sub(r"\1\\\2", line, count=1) if _BLOCK.match(line) else line


def markdown_code(text: str) -> str:
    """Return `text` as Markdown code in one line, its fence longer than any run of backticks in it."""
    line = visible(" ".join(text.split()))
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if "`" in line else ""
    return fence + pad + line.replace("|", "\\|") + pad + fence


_LATEX = {
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
    "|": r"\textbar{}",
    "Δ": r"$\Delta$",
    "×": r"$\times$",
    "–": "--",
    "…": r"\ldots{}",
}
_LATEX_SPECIAL = re.compile("|".join(map(re.escape, _LATEX)))


def latex_comment(text: str) -> str:
    """Return lines of `text` as comments of LaTeX, literally: nothing but the end of a line ends a comment."""
    return "".join(f"% {visible(line)}".rstrip() + "\n" for line in text.split("\n"))


def latex(text: str) -> str:
    """Return `text` so that LaTeX shows it literally, in one line."""
    written = _LATEX_SPECIAL.sub(lambda found: _LATEX[found[0]], visible(" ".join(text.split())))
    return re.sub(r"^-(?=\d)", "$-$", written)  # a minus sign


def html(text: object, *, lines: bool = False) -> str:
    """Return `text` so that HTML shows it literally, in an element or a quoted attribute.

    Args:
        text: as it was found; the ``str`` of any other object.
        lines: keep line breaks, as :func:`visible` does.
    """
    return _html.escape(visible(text, lines=lines))
