"""``hmhsa-insert suggest MODEL --data SOURCE``: blocks tried at every stage, and the best raced."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hmhsa_insert.errors import HmhsaInsertError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hmhsa_insert.placement.finding import Finding
    from hmhsa_insert.placement.prior import Progress

PAGE = "placement.html"


def try_placements(model: str, data: str, **options: Any) -> Finding:
    """Pre-test blocks on data, show how far it is, and say where what was found is; `options` are of ``hi.suggest``."""
    from hmhsa_insert.commands.console import wrote
    from hmhsa_insert.files.whole import write_text
    from hmhsa_insert.placement.finding import FOUND
    from hmhsa_insert.placement.suggest import suggest

    with _showing() as progress:
        found = suggest(model, data=data, progress=progress, **options)
    recipes = f"{len(found.recipes)} recipe{'s' * (len(found.recipes) != 1)}"
    assert found.folder is not None
    write_text(found.folder / PAGE, _page(found), HmhsaInsertError)
    wrote(found.folder, f"{PAGE}, {FOUND}, {recipes}, and the runs of the race")
    return found


def _page(found: Finding) -> str:
    """Return what was found as a page: the verdict, the drawing, and the tables."""
    from hmhsa_insert.reports.drawings import NetworkDrawing
    from hmhsa_insert.reports.html import to_html

    drawn = found.drawing
    places = [NetworkDrawing("Where", drawn.svg, folded=False)] if drawn is not None else []
    verdict, *tables = found.tables()
    return to_html(found.verdict, [replace(verdict, title=""), *places, *tables])


@contextmanager
def _showing() -> Iterator[Progress]:
    """Show what is done on a line with the time left; in a log, a line whenever something else begins."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from hmhsa_insert.commands.console import notes, progress
    from hmhsa_insert.inert import visible

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(20),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=progress, transient=True) as bar:
        task, said = bar.add_task("building the network", total=None), ""

        def show(what: str, done: int, whole: int) -> None:
            nonlocal said
            if what != said and not progress.is_terminal and what.startswith("racing"):
                notes.print(visible(what), style="dim")
            said = what
            bar.update(task, description=visible(what), completed=done, total=whole)

        yield show
