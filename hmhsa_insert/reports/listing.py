"""Text that keeps its lines, such as a recipe in full, between the tables of a report."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hmhsa_insert.inert import html, latex, latex_comment, markdown, visible


@dataclass(frozen=True)
class Listing:
    """Lines of text under a title; a page shows them at a click, and a terminal their title only.

    Attributes:
        title: what it is.
        text: its lines.
    """

    title: str
    text: str

    def to_markdown(self) -> str:
        """Return it as a fenced block, its fence longer than any run of backticks in it."""
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", self.text)), default=0))
        return f"## {markdown(self.title)}\n\n{fence}\n{visible(self.text.rstrip(), lines=True)}\n{fence}\n"

    def to_latex(self) -> str:
        """Return it as lines of typewriter text; the spaces that begin a line stay."""
        lines = [
            r"~" * (len(line) - len(line.lstrip(" "))) + latex(line)
            for line in self.text.rstrip().split("\n")
        ]
        body = "\\\\\n".join(rf"\texttt{{{line}}}" for line in lines)
        return f"\\paragraph{{{latex(self.title)}}}\n\n{{\\noindent\\footnotesize\n{body}\n\n}}\n"

    def to_latex_comment(self) -> str:
        """Return it as comments, for what belongs to a table and not into the text around it."""
        return latex_comment(f"{self.title}:\n{self.text.rstrip()}")

    def to_html(self) -> str:
        """Return it as an element that unfolds."""
        text = html(self.text.rstrip(), lines=True)
        return f"<details>\n<summary>{html(self.title)}</summary>\n<pre>{text}</pre>\n</details>"
