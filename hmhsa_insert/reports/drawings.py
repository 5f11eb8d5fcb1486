"""The drawings that records carry, on a page: networks as columns of blocks, drawn from data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hmhsa_insert.drawing.data import Contents
from hmhsa_insert.drawing.layout import Layout
from hmhsa_insert.inert import html
from hmhsa_insert.reports.frame import size_label
from hmhsa_insert.reports.sources import Record


@dataclass(frozen=True)
class NetworkDrawing:
    """The drawing of one network.

    Attributes:
        title: whose it is.
        svg: what :class:`Layout` gives; all text in it is escaped.
        folded: a click shows it.
    """

    title: str
    svg: str
    folded: bool

    def to_html(self) -> str:
        """Return it as an element that scrolls inside of itself; what is cut in it, a pointer shows."""
        around, heading = ("details", "summary") if self.folded else ("section", "h2")
        title = f"<{heading}>{html(self.title)}</{heading}>"
        return f'<{around}>\n{title}\n<div class="wide">\n{self.svg}</div>\n</{around}>'


def network_drawings(records: Iterable[Record]) -> list[NetworkDrawing]:
    """Return the drawing of every record that carries one, folded if there are several."""
    drawn = [record for record in records if record.get("drawing")]
    return [
        NetworkDrawing(
            f"Drawing of {record['name']} at {size_label(*record['input_size'][1:])}",
            Layout(Contents.of(record["drawing"])).draw(),
            folded=len(drawn) > 1,
        )
        for record in drawn
    ]
