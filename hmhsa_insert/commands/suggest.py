"""``hmhsa-insert suggest MODEL``: recipes within a budget, ready to apply."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from hmhsa_insert.commands.inputs import BatchOption, InputOption, described
from hmhsa_insert.commands.options import (
    AllowCodeOption,
    BaseOption,
    ModelArgument,
    PluginOption,
    SizeOption,
    UnsafePickleOption,
    load_plugins,
    open_with_base,
)
from hmhsa_insert.errors import HmhsaInsertError, Problem
from hmhsa_insert.files.numbers import big
from hmhsa_insert.files.whole import write_text

if TYPE_CHECKING:
    from hmhsa_insert.costs.suggest import Cost, CostLimits, Suggestion, Suggestions

_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "KIB": 2.0**10, "MIB": 2.0**20, "GIB": 2.0**30}
_LIMIT = re.compile(r"\+?(\d+(?:\.\d+)?)\s*(%|[KMG]|[KMG]iB|)", re.IGNORECASE)


def suggest(
    model: ModelArgument,
    block: Annotated[str, typer.Option(metavar="TYPE", help="The block to insert.")] = "hmhsa",
    max_macs: Annotated[
        str | None,
        typer.Option(
            metavar="LIMIT",
            help="+5% (over the network), or 4.3G in all. Default: +5% if nothing is limited.",
        ),
    ] = None,
    max_params: Annotated[str | None, typer.Option(metavar="LIMIT", help="+10%, or 30M in all.")] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(metavar="LIMIT", help="Saved for backward, per image: +10%, or 120MiB in all. Slower."),
    ] = None,
    input_size: SizeOption = None,
    given: InputOption = None,
    fixed_batch: BatchOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Write all recipes here.")
    ] = None,
    base: BaseOption = None,
    allow_code: AllowCodeOption = False,
    unsafe_pickle: UnsafePickleOption = False,
    plugin: PluginOption = None,
) -> None:
    """List where a block can go within a budget, and how wide: the Pareto set, as recipes ready to apply.

    No other recipe of those tried puts the block on as many channels for less.

    Example: `hmhsa-insert suggest resnet50 --block hmhsa --max-macs +5% -o suggested`
    """
    from hmhsa_insert.commands.console import err, out
    from hmhsa_insert.costs.suggest import suggest as find

    load_plugins(plugin)
    wanted = {"--max-macs": max_macs, "--max-params": max_params, "--max-memory": max_memory}
    if not any(wanted.values()):
        wanted["--max-macs"] = "+5%"
    for option, text in wanted.items():
        _limit(option, text, 1.0)  # refused before any work is done
    with err.status("building the network"):
        loaded = open_with_base(model, base, allow_code, unsafe_pickle=unsafe_pickle, meta=True)
    inputs = described(loaded, input_size, given, fixed_batch)
    with err.status("resolving recipes") as status:
        found = find(
            loaded.model,
            inputs,
            lambda cost: _limits(cost, wanted),
            block,
            memory=max_memory is not None,
            progress=lambda done, whole: status.update(f"rehearsing recipe {done} of {whole}"),
        )
    if not found.found:
        raise HmhsaInsertError(_nothing(found))
    out.print(_table(found, f"{loaded.source.spec} at {inputs}"))
    _deliver(found, loaded.name, output)


def _limits(cost: Cost, wanted: dict[str, str | None]) -> CostLimits:
    from hmhsa_insert.costs.suggest import CostLimits

    return CostLimits(
        num_params=_limit("--max-params", wanted["--max-params"], cost.num_params),
        macs=_limit("--max-macs", wanted["--max-macs"], cost.macs),
        saved_bytes=_limit("--max-memory", wanted["--max-memory"], cost.saved_bytes or 0.0),
    )


def _limit(option: str, text: str | None, base: float) -> float | None:
    """Return a limit in base units; a percentage is added to `base`."""
    if text is None:
        return None
    matched = _LIMIT.fullmatch(text.strip())
    if matched is None or ("%" in text) != text.strip().startswith("+"):
        tip = "write +5% (over the network as it is), or all of it, such as 4.3G, 30M or 120MiB"
        raise HmhsaInsertError(Problem(option, f"'{text}' is not a limit", tip))
    number, unit = float(matched[1]), matched[2].upper()
    return base * (1 + number / 100) if unit == "%" else number * _UNITS[unit]


def _nothing(found: Suggestions) -> Problem:
    if found.cheapest is None:
        return Problem(
            "--block", "no recipe fits this network", "`hmhsa-insert stages MODEL` shows its stages"
        )
    least = found.cheapest
    tip = f"the one of the fewest MACs is {least.recipe.name}, with {', '.join(_changes(least, found.base))}"
    return Problem("", f"none of {found.tried} recipes is within the limits", tip)


def _changes(each: Suggestion, base: Cost) -> list[str]:

    cost = each.cost
    pairs = [("parameters", cost.num_params, base.num_params), ("MACs", cost.macs, base.macs)]
    changes = [f"{big(after)} {what} ({after / before - 1:+.2%})" for what, after, before in pairs]
    if cost.saved_bytes is not None and base.saved_bytes:
        share = cost.saved_bytes / base.saved_bytes - 1
        changes.append(f"{cost.saved_bytes / 2**20:.1f} MiB saved for backward ({share:+.2%})")
    return changes


def _table(found: Suggestions, where: str) -> Table:
    from rich import box

    title = f"{where}: {len(found.found)} of {found.tried} recipes"
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    table.add_column("recipe", overflow="fold")
    headers = ["blocks", "channels", "MACs", "Δ MACs", "Δ params"]
    base = found.base
    for header in [*headers, "Δ memory"] if base.saved_bytes else headers:
        table.add_column(header, justify="right", no_wrap=True)
    for each in found.found:
        cost = each.cost
        pairs: list[tuple[float, float]] = [(cost.macs, base.macs), (cost.num_params, base.num_params)]
        if cost.saved_bytes is not None and base.saved_bytes:
            pairs.append((cost.saved_bytes, base.saved_bytes))
        shares = (f"{after / before - 1:+.1%}" for after, before in pairs)
        table.add_row(each.recipe.name, str(each.num_blocks), str(each.channels), big(cost.macs), *shares)
    return table


def _deliver(found: Suggestions, network: str, folder: Path | None) -> None:
    """Write every recipe to `folder`, or print the one on the most channels."""
    from hmhsa_insert.commands.console import out, wrote

    if folder is None:
        most = max(found.found, key=lambda each: (each.channels, -each.cost.macs))
        out.print("the one on the most channels; -o DIR writes all of them:\n")
        out.print(_text(most, found.base, network), markup=False, soft_wrap=True)
        return
    files = {folder / f"{each.recipe.name}.yaml": each for each in found.found}
    there = [
        Problem(str(file), "it exists already", "choose another folder") for file in files if file.exists()
    ]
    if there:
        raise HmhsaInsertError(there)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HmhsaInsertError(Problem(str(folder), f"cannot be written: {error.strerror}")) from error
    for file, each in files.items():
        write_text(file, _text(each, found.base, network), HmhsaInsertError)
    wrote(folder, f"{len(files)} recipes; apply one with --recipe FILE")


def _text(each: Suggestion, base: Cost, network: str) -> str:
    plural = "s" if each.num_blocks > 1 else ""
    intent = f"# Suggested for {network}: {each.num_blocks} block{plural} on {each.channels} channels in all."
    return f"{intent}\n#\n# Predicted: {', '.join(_changes(each, base))}.\n{each.recipe.dump()}"
