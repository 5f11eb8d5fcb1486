"""The only place that prints: consoles, reports of errors, notes about written files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.highlighter import JSONHighlighter
from rich.segment import Segment
from rich.text import Text

from hmhsa_insert.commands.naming import in_options, place
from hmhsa_insert.inert import json_text, visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.status import Status

    from hmhsa_insert.errors import HmhsaInsertError

# A pipe or a file has no width of its own: 80 columns keep tables readable there.
_WIDTH = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 80

# The most problems that are printed at one place, and in all: one edit can be refused at a hundred modules,
# and a study may name a thousand unknown networks. The report should fit on one screen.
_MOST_ALIKE = 6
_MOST_SHOWN = 15


class _InertConsole(Console):
    """A console that shows text literally, wherever it is printed.

    Printed text contains users' paths and names: "[b]" or ":x:" in them is not markup, and escape codes have
    no effect.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(width=_WIDTH, highlight=False, markup=False, emoji=False, stderr=stderr)

    def render_str(self, text: str, **options: Any) -> Text:
        # Cells of tables and titles are escaped before they are measured, so that columns stay aligned.
        return super().render_str(visible(text, lines=True), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if not segment.control:
                segment = Segment(visible(segment.text, lines=True), segment.style)
            yield segment


out = _InertConsole()  # results
err = _InertConsole(stderr=True)  # errors
notes = _InertConsole()  # what is said along the way: not with --quiet, and not between JSON
progress = _InertConsole(stderr=True)  # how far it is: not with --quiet


def report_error(error: HmhsaInsertError) -> None:
    """Print every problem of `error` to standard error, unwrapped so that places stay clickable."""
    count = len(error.problems)
    heading = f"error: {error.title}" + (f" ({count} problems)" if count > 1 else "")
    err.print(Text(heading, style="bold red"))
    shown = counted = 0
    for (where, tip), alike in groupby(error.problems, key=lambda problem: (problem.where, problem.tip)):
        if shown >= _MOST_SHOWN:
            break
        messages = [problem.message for problem in alike]
        _print_alike(place(where), in_options(tip), messages)
        shown, counted = shown + min(len(messages), _MOST_ALIKE), counted + len(messages)
    if counted < count:
        err.print(f"  … and {count - counted:,} more problem{'s' * (count - counted > 1)}")


def _print_alike(where: str, tip: str, messages: Sequence[str]) -> None:
    """Print the first problems at one place, and what to do about them."""
    for message in messages[:_MOST_ALIKE]:
        line = Text("  ")
        if where:
            line.append(f"{where}: ", style="bold")
        err.print(line.append(message), soft_wrap=True)
    if len(messages) > _MOST_ALIKE:
        err.print(f"  … and {len(messages) - _MOST_ALIKE} more at this place")
    if tip:
        err.print(Text(f"    {tip}", style="dim"), soft_wrap=True)


def watching(status: Status) -> Callable[[int, int], None]:
    """Return a callback that shows in a status line how many files of the data were read."""

    def show(done: int, total: int) -> None:
        status.update(f"reading what is in the data's files: {done:,} of {total:,}")

    return show


def note(text: str, console: Console = notes) -> None:
    """Print what is worth knowing of what was done; options stand where it mentions arguments."""
    console.print(Text(in_options(visible(text)), style="dim"), soft_wrap=True)


def bold(text: str, rest: str = "") -> Text:
    """Return a line that begins in bold."""
    return Text.assemble((visible(text), "bold"), visible(rest))


def print_json(data: Any) -> None:
    """Print plain data as JSON for programs, without wrapping any string."""
    out.print(JSONHighlighter()(json_text(data, indent=2)), soft_wrap=True)


def wrote(path: Path | str, what: str = "") -> None:
    """Print where something was written; with JSON, on standard error."""
    (notes if notes.stderr else out).print(
        Text(visible(f"wrote {path}{f' ({what})' if what else ''}"), style="green"), soft_wrap=True
    )
