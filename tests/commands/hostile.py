"""Names that a stranger gives to things, and what shows whether an output carried one out."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from html.parser import HTMLParser
from typing import Any

from markdown_it import MarkdownIt

_EVIL = (
    "\x1b]0;title\x07\x1b[2J\x9b31m\u202edesrever\u2066\x7f\u2028 [l](http://evil.example) ![i](http://evil.example/i) "
    "[r]: http://evil.example www.evil.example me@evil.example <script>alert(1)</script><img src=x onerror=alert(2)> "
    '" onmouseover="alert(3)" \' a|b `c` **d** _e_ &lt; $x$ \\input{/etc/passwd}%\\write18{x} {} #1 ~ ^ \ud800\nnext'
)
# A formula begins with each of these; a spreadsheet passes over what is in front of the last three.
HOSTILE = tuple(f"{first}1+1{_EVIL}" for first in ("=", "+", "-", "@", "\t=", "\r=", " ="))

_NUMBER = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?%?")
_PAGE_TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "h1",
    "h2",
    "section",
    "div",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "button",
    "ul",
    "li",
    "sup",
    "script",
    "figure",
    "img",
    "figcaption",
    "details",
    "summary",
    "pre",
}
_COMMANDS = {
    "begin",
    "centering",
    "caption",
    "toprule",
    "midrule",
    "bottomrule",
    "end",
    "par",
    "smallskip",
    "footnotesize",
    "addlinespace",
    "textsuperscript",
    "textbackslash",
    "textasciitilde",
    "textasciicircum",
    "textless",
    "textgreater",
    "textbar",
    "Delta",
    "times",
    "ldots",
    "usepackage",
}


def live(text: str) -> list[str]:
    """Return what a terminal would act on or hide."""
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return [c for c in text if unicodedata.category(c) in kinds and c not in "\n\u200c\u200d"]


def markdown_links(text: str) -> list[str]:
    """Return the links, images and HTML of Markdown, and the words outside of code that GitHub links by itself."""
    found = []
    for block in MarkdownIt("commonmark").enable("table").parse(text):
        if block.type == "html_block":
            found.append(block.content)
        for token in block.children or []:
            if token.type in ("link_open", "image", "html_inline"):
                found.append(f"{token.type} {token.content}{token.attrs}")
            if token.type == "text" and re.search(r":/|www\.|\S@|@\S", token.content):
                found.append(token.content)
    return found


def formulas(text: str) -> list[str]:
    """Return the cells of CSV that a spreadsheet would compute, whatever it takes for the end of a cell."""
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    unquoted = [cell for line in text.splitlines() if '"' not in line for cell in re.split("[;,\t]", line)]
    return [
        c
        for c in cells + unquoted
        if c.lstrip()[:1] in tuple("=+-@") and not _NUMBER.fullmatch(c) and c.strip()
    ]


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.found += [tag] if tag not in _PAGE_TAGS else []
        self.found += [
            f"{tag} {name}" for name, _ in attrs if name.startswith("on") or name in ("href", "srcdoc")
        ]
        self.found += [
            f"{tag} src" for name, value in attrs if name == "src" and not str(value).startswith("data:")
        ]


def page_elements(text: str) -> list[str]:
    """Return the elements and attributes of a page that reports do not write."""
    page = _Page(text)
    return page.found + ["script"] * (page.scripts - 1)


def latex_commands(text: str) -> list[str]:
    """Return the commands of LaTeX that reports do not write, and characters that mean something by themselves."""
    body = "\n".join(
        line for line in text.splitlines() if not line.startswith("%")
    )  # which ends with its line
    commands = [name for name in re.findall(r"\\([A-Za-z]+)", body) if name not in _COMMANDS]
    return commands + re.findall(r"(?<!\\)[%#~^]|(?<!\\)_|\\\\\s*[\[*]", body)


def json_problems(text: str) -> list[str]:
    """Return why a text is not a JSON."""
    try:
        json.loads(text)
    except ValueError as error:
        return [str(error)]
    return []


CHECKS: dict[str, Any] = {
    "table": lambda text: [],
    "md": markdown_links,
    "csv": formulas,
    "latex": latex_commands,
    "json": json_problems,
    "html": page_elements,
}
