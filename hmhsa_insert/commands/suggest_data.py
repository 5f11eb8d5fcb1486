"""``hmhsa-insert suggest MODEL --data SOURCE``: blocks tried at every stage, and the best raced."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmhsa_insert.errors import Argument, HmhsaInsertError, Problem
from hmhsa_insert.files.whole import write_text
from hmhsa_insert.inert import json_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hmhsa_insert.placement.finding import Finding
    from hmhsa_insert.placement.prior import Progress

FOUND = "placement.json"
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def try_placements(
    model: str,
    data: str,
    limits: Mapping[str, str | None],
    output: Path | None,
    entrants: int | None,
    share: float | None,
    budget: str | None,
    **others: Any,
) -> Finding:
    """Pre-test blocks on data; write what was found, and recipes of the best, beside the runs of the race."""
    from hmhsa_insert.commands.console import wrote
    from hmhsa_insert.costs.suggest import budget as read_limits
    from hmhsa_insert.files.model_spec import ModelSpec
    from hmhsa_insert.placement.pretest import pretest
    from hmhsa_insert.training.run_folder import folder_name

    race: dict[str, Any] = {"entrants": entrants, "share": share}
    race["seconds"] = None if budget is None else read_time(budget)
    folder = output or Path("runs") / folder_name(f"suggest-{ModelSpec(model).label}-{Path(data).name}")
    with _showing() as progress:
        found = pretest(
            model,
            data,
            folder=folder,
            limits=read_limits(**limits) if any(limits.values()) else None,
            progress=progress,
            **{name: value for name, value in race.items() if value is not None},
            **others,
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / FOUND, json_text(found.to_dict(), indent=2), HmhsaInsertError)
    chosen = [each.scored for each in found.best] if found.raced else found.scored[:3]
    for each in chosen:
        recipe = each.candidate.recipe
        write_text(folder / f"{recipe.name}.yaml", recipe.dump(), HmhsaInsertError)
    recipes = f"{len(chosen)} recipe{'s' * (len(chosen) != 1)}"
    wrote(folder, f"{FOUND}, {recipes}, and the runs of the race")
    return found


def read_time(text: str) -> float:
    """Return the seconds that ``90s``, ``10m`` or ``2h`` says.

    Raises:
        HmhsaInsertError: it is no time.
    """
    matched = _TIME.fullmatch(text.strip().lower())
    if matched is None:
        raise HmhsaInsertError(Problem(Argument("budget"), f"'{text}' is not a time", "write 90s, 10m or 2h"))
    return float(matched[1]) * _SECONDS[matched[2]]


def check_mode(has_data: bool, blocks: list[str], given: Mapping[str, Any]) -> None:
    """Refuse options of the other way to suggest: by costs alone, or with data.

    Args:
        has_data: whether it is with data.
        blocks: that were named.
        given: options of the other way, and their values; one that was not given is None, False or empty.

    Raises:
        HmhsaInsertError: one was given; several blocks without data.
    """
    message = "is of suggestions by cost alone" if has_data else "is of suggestions with data"
    tip = "leave one of the two away" if has_data else "give `data=SOURCE` too"
    problems = [Problem(Argument(name), message, tip) for name, value in given.items() if value]
    if len(blocks) > 1 and not has_data:
        problems.append(Problem(Argument("block"), "several blocks are compared on data only", tip))
    if problems:
        raise HmhsaInsertError(problems)


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
