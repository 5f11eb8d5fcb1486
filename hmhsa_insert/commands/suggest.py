"""``hmhsa-insert suggest MODEL``: recipes within a budget, ready to apply."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hmhsa_insert.commands.inputs import BatchOption, InputOption, described
from hmhsa_insert.commands.options import (
    AllowCodeOption,
    BaseOption,
    ModelArgument,
    PluginOption,
    SizeOption,
    UnsafePickleOption,
    load_plugins,
    named_as_options,
    open_with_base,
)
from hmhsa_insert.errors import HmhsaInsertError, Problem
from hmhsa_insert.files.whole import write_text

if TYPE_CHECKING:
    from hmhsa_insert.costs.suggested import Suggestions


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
    from hmhsa_insert.commands.console import err
    from hmhsa_insert.commands.printed import print_tables
    from hmhsa_insert.costs.suggest import budget
    from hmhsa_insert.costs.suggest import suggest as find

    load_plugins(plugin)
    limits = {"max_macs": max_macs, "max_params": max_params, "max_memory": max_memory}
    with named_as_options():
        budget(**limits)  # refused before any work is done
    with err.status("building the network"):
        loaded = open_with_base(model, base, allow_code, unsafe_pickle=unsafe_pickle, meta=True)
    inputs = described(loaded, input_size, given, fixed_batch)
    with named_as_options(), err.status("resolving recipes") as status:
        found = find(
            loaded.model,
            block,
            inputs=inputs,
            progress=lambda done, whole: status.update(f"rehearsing recipe {done} of {whole}"),
            **limits,
        )
    found = replace(found, network=f"{loaded.source.spec} at {inputs}")
    if not found.found:
        message, tip = found.why_none
        raise HmhsaInsertError(Problem("", message, tip or "`hmhsa-insert stages MODEL` shows its stages"))
    print_tables(found)
    _deliver(found, loaded.name, output)


def _deliver(found: Suggestions, network: str, folder: Path | None) -> None:
    """Write every recipe to `folder`, or print the one on the most channels."""
    from hmhsa_insert.commands.console import out, wrote

    if folder is None:
        assert found.widest is not None
        out.print("the one on the most channels; -o DIR writes all of them:\n")
        out.print(found.widest.text(found.base, network), markup=False, soft_wrap=True)
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
        write_text(file, each.text(found.base, network), HmhsaInsertError)
    wrote(folder, f"{len(files)} recipes; apply one with --recipe FILE")
