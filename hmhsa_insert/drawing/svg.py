"""A small writer of SVG: rectangles, lines and labels as plain text, readable in light and dark, always the same bytes.

Labels are in a monospaced font, so that their width is known without one, and what does not fit is cut.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from itertools import accumulate, takewhile
from typing import NamedTuple

from hmhsa_insert.inert import html, visible

# Fonts whose characters are at most this wide, in parts of the font size; other characters may come from any font.
_FONT = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', 'Courier New', monospace"
_WIDE, _ANY = 0.65, 1.25
# A combining mark takes no width of its own.
_NO_WIDTH = ("Mn", "Me")

# All names begin with the package's, because a style inside of a notebook or a page holds for the whole of it.
_STYLE = f"""
.hi-sheet {{ font-family: {_FONT}; }}
.hi-paper {{ fill: #ffffff; }} .hi-text {{ fill: #1c2024; }} .hi-dim {{ fill: #5c656e; }}
.hi-box {{ fill: #eef1f4; stroke: #9aa5b1; }} .hi-track {{ fill: #dde3e9; }} .hi-bar {{ fill: #52606d; }}
.hi-line {{ stroke: #9aa5b1; fill: none; }} .hi-entry {{ fill: none; stroke: #9aa5b1; stroke-dasharray: 3 2; }}
.hi-on {{ fill: #ffffff; }} .hi-bold {{ font-weight: bold; }}
@media (prefers-color-scheme: dark) {{
.hi-paper {{ fill: #16191d; }} .hi-text {{ fill: #e6e9ec; }} .hi-dim {{ fill: #a3adb8; }}
.hi-box {{ fill: #272c33; stroke: #5c6773; }} .hi-track {{ fill: #333a43; }} .hi-bar {{ fill: #a3adb8; }}
.hi-line {{ stroke: #5c6773; }} .hi-entry {{ stroke: #5c6773; }}
}}
"""
# White text is readable on each of them, and each is seen on light and on dark paper.
COLORS = ("#0f6f9c", "#b4521c", "#7443a8", "#2f7d36", "#ab2353", "#7d6400")


class Label(NamedTuple):
    """The box that a label takes at most, in pixels."""

    left: float
    top: float
    right: float
    bottom: float
    text: str


def width_of(text: str, size: float) -> float:
    """Return the width that `text` takes at most, in pixels, at a font size."""
    units = 0.0
    for char in text:
        if unicodedata.category(char) not in _NO_WIDTH:
            units += _WIDE if char < "\u0250" or char in "→…·×–" else _ANY
    return units * size


def cut(text: str, width: float, size: float, *, keep_end: bool = False) -> str:
    """Return `text`, cut with an ellipsis so that it fits into `width` pixels at a font size."""
    if width_of(text, size) <= width:
        return text
    room = width - width_of("…", size)
    widths = accumulate(width_of(char, size) for char in (reversed(text) if keep_end else text))
    kept = sum(1 for _ in takewhile(lambda taken: taken <= room, widths))
    return f"…{text[len(text) - kept :]}" if keep_end else f"{text[:kept]}…"


@dataclass
class Sheet:
    """A drawing in the making.

    Attributes:
        labels: the boxes of all labels, for what must not overlap.
    """

    labels: list[Label] = field(default_factory=list)
    _parts: list[str] = field(default_factory=list)

    def box(
        self, x: float, y: float, width: float, height: float, style: str, fill: str = "", title: str = ""
    ) -> None:
        """Draw a rectangle; `fill` is a color of ours, `title` what a pointer on it shows."""
        paint = f' fill="{fill}"' if fill else ""
        shape = (
            f'<rect class="{style}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3"{paint}'
        )
        self._parts.append(f"{shape}>{_title(title)}</rect>" if title else f"{shape}/>")

    def line(self, x: float, y: float, to_x: float, to_y: float) -> None:
        """Draw a line that ends in an arrow."""
        head = f"M{to_x - 4:g} {to_y - 3:g}L{to_x:g} {to_y:g}L{to_x - 4:g} {to_y + 3:g}"
        self._parts.append(f'<path class="hi-line" d="M{x:g} {y:g}L{to_x:g} {to_y:g}{head}"/>')

    def label(
        self,
        x: float,
        y: float,
        text: str,
        width: float,
        size: float = 12,
        style: str = "hi-text",
        *,
        keep_end: bool = False,
        title: str = "",
    ) -> None:
        """Write a label in one line from `x`, on the base line `y`; a pointer shows what was cut, or `title`."""
        text = _shown(text)
        shown = cut(text, width, size, keep_end=keep_end)
        full = title or (text if shown != text else "")
        taken = Label(x, y - size, x + width_of(shown, size), y + 0.3 * size, shown)
        self.labels.append(taken)
        # A space at an end would be dropped, and a run of them joined.
        start = f'<text class="{style}" x="{x:g}" y="{y:g}" font-size="{size:g}" xml:space="preserve">'
        self._parts.append(f"{start}{_text(shown)}{_title(full)}</text>")

    def svg(self, width: float, height: float, title: str) -> str:
        """Return the drawing as the text of a file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="hi-sheet" role="img" width="{width:g}" '
            f'height="{height:g}" viewBox="0 0 {width:g} {height:g}" style="max-width:100%;height:auto">'
        )
        paper = f'<rect class="hi-paper" width="{width:g}" height="{height:g}"/>'
        return "\n".join([head, _title(title), f"<style>{_STYLE}</style>", paper, *self._parts, "</svg>", ""])


def _title(text: str) -> str:
    return f"<title>{_text(text)}</title>" if text else ""


def _shown(text: str) -> str:
    # The two characters that XML has no form for, beside those that are escaped anyway.
    return visible(text.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd"))


def _text(text: str) -> str:
    return html(_shown(text))
