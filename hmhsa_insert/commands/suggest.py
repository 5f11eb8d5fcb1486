"""``hmhsa-insert suggest MODEL``: recipes within a budget, ready to apply."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmhsa_insert.commands.inputs import BatchOption, InputOption, described
from hmhsa_insert.commands.options import (
    AllowCodeOption,
    DataDirOption,
    JsonOption,
    ModelArgument,
    OverwriteOption,
    PretrainedOption,
    SeedOption,
    SizeOption,
    WeightsOption,
    read_size,
)
from hmhsa_insert.commands.shared import shared
from hmhsa_insert.commands.suggest_data import try_placements
from hmhsa_insert.errors import Argument, HmhsaInsertError, Problem
from hmhsa_insert.files.text import RECIPE, read_file
from hmhsa_insert.files.whole import write_text

if TYPE_CHECKING:
    from hmhsa_insert.costs.suggested import Cost, CostLimits, Suggestion, Suggestions
    from hmhsa_insert.surgery.base.load import LoadedModel


def suggest(
    model: ModelArgument,
    block: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TYPE",
            help="The block to insert; default: hmhsa. With --data repeatable, to compare several.",
        ),
    ] = None,
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
    max_latency: Annotated[
        str | None,
        typer.Option(
            metavar="LIMIT", help="+0%: what may be added to the time of a step, measured here. Slow."
        ),
    ] = None,
    input_size: SizeOption = None,
    inputs: InputOption = None,
    fixed_batch: BatchOption = None,
    output: Annotated[Path | None, shared("--output", writes="all recipes", metavar="DIR")] = None,
    overwrite: OverwriteOption = False,
    allow_code: AllowCodeOption = False,
    json: JsonOption = False,
    data: Annotated[
        str | None,
        shared("--data", more="With it, blocks are tried: what they cost, and what they may gain."),
    ] = None,
    settings: Annotated[
        str | None,
        typer.Option("--config", metavar="FILE", help="With --data: training settings, as of `train`."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="With --data: one setting; repeatable."),
    ] = None,
    seed: SeedOption = 0,
    weights: WeightsOption = None,
    pretrained: PretrainedOption = False,
    data_dir: DataDirOption = None,
    entrants: Annotated[
        int | None, typer.Option(min=0, help="With --data: how many blocks to race; default: 4.")
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(min=0.001, max=1, help="With --data: of a training, for each of them; default: 0.25."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="With --data: 90s, 10m or 2h, after which no further block is raced."
        ),
    ] = None,
) -> None:
    """List where a block can go within a budget, and how wide: the Pareto set, as recipes ready to apply.

    No other recipe of those tried puts the block on as many channels for less. With `--data`, blocks are tried at the
    end of every stage: each is trained alone for some steps, and the best are raced in short trainings.

    Examples:
    - `hmhsa-insert suggest resnet50 --block hmhsa --max-macs +5% -o suggested`
    - `hmhsa-insert suggest resnet18 --data /data/birds --block hmhsa --block timm/se --budget 30m -o tried`
    """
    from hmhsa_insert.commands.console import print_json
    from hmhsa_insert.commands.printed import print_tables
    from hmhsa_insert.costs.suggest import budget as read_limits
    from hmhsa_insert.costs.suggest_timed import read_latency
    from hmhsa_insert.placement.suggest import check_way

    of_costs = {
        "max_memory": max_memory,
        "max_latency": max_latency,
        "inputs": inputs,
        "fixed_batch": fixed_batch,
        "overwrite": overwrite,
    }
    of_race = {"entrants": entrants, "share": share, "budget": budget}
    of_training: dict[str, Any] = {"settings": settings, "overrides": overrides or [], "seed": seed}
    of_training |= {"weights": weights, "pretrained": pretrained, "data_dir": data_dir}
    limits = {"max_macs": max_macs, "max_params": max_params}
    check_way(data is not None, of_costs if data is not None else {**of_race, **of_training})
    if data is not None:
        options = {**limits, **of_race, **of_training, "allow_code": allow_code, "blocks": block or ["hmhsa"]}
        tried = try_placements(model, data, input_size=read_size(input_size), folder=output, **options)
        if json:
            print_json(tried.to_dict())
        else:
            print_tables(tried)
        return
    if len(block or ()) > 1:
        raise HmhsaInsertError(
            Problem(Argument("block"), "several blocks are compared on data only", "give `data=SOURCE` too")
        )
    # Refused before any work is done.
    within, latency = read_limits(**limits, max_memory=max_memory), read_latency(max_latency)
    named = (block or ["hmhsa"])[0]
    described_by = (input_size, inputs, fixed_batch)
    loaded, found = _by_cost(model, named, within, max_memory is not None, latency, described_by, allow_code)
    if json:
        print_json([_as_data(each) for each in found])
    else:
        print_tables(found)
    if output is not None or not json:
        _deliver(found, loaded.name, output, overwrite)


def _by_cost(
    model: str,
    block: str,
    within: Callable[[Cost], CostLimits],
    memory: bool,
    latency: float | None,
    described_by: tuple[str | None, list[str] | None, int | None],
    allow_code: bool,
) -> tuple[LoadedModel, Suggestions]:
    """Return the network of MODEL, and what the limits allow on it.

    Raises:
        HmhsaInsertError: they allow nothing.
    """
    from hmhsa_insert.commands.console import progress
    from hmhsa_insert.costs.suggest import search
    from hmhsa_insert.costs.suggest_timed import within_time
    from hmhsa_insert.surgery.artifact.artifact import open_model

    with progress.status("building the network"):
        loaded = open_model(model, allow_code=allow_code, meta=latency is None)
    taken = described(loaded, *described_by)
    with progress.status("resolving recipes") as status:
        found = search(
            loaded.model,
            taken,
            within,
            block,
            memory=memory,
            progress=lambda done, whole: status.update(f"rehearsing recipe {done} of {whole}"),
        )
    if latency is not None and found.found:
        with progress.status("timing recipes") as status:
            found = within_time(
                loaded.model,
                taken,
                found,
                latency,
                progress=lambda done, whole: status.update(f"timing recipes: {done} of {whole}"),
            )
    found = replace(found, network=f"{loaded.source.spec} at {taken}")
    if not found.found:
        message, tip = found.why_none
        raise HmhsaInsertError(Problem("", message, tip or "`hmhsa-insert stages MODEL` shows its stages"))
    return loaded, found


def _as_data(each: Suggestion) -> dict[str, Any]:
    return {
        "recipe": each.recipe.to_dict(),
        "num_blocks": each.num_blocks,
        "channels": each.channels,
        "cost": asdict(each.cost),
        **({"times": [asdict(time) for time in each.times]} if each.times else {}),
    }


def _deliver(found: Suggestions, network: str, folder: Path | None, overwrite: bool) -> None:
    """Write every recipe to `folder`, or print the one on the most channels."""
    from hmhsa_insert.commands.console import note, out, wrote

    if folder is None:
        assert found.widest is not None
        note("the one on the most channels; -o DIR writes all of them:")
        out.print(found.widest.text(found.base, network), markup=False, soft_wrap=True)
        return
    files = {folder / f"{each.recipe.name}.yaml": each for each in found.found}
    _check_free(files, overwrite)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HmhsaInsertError(Problem(str(folder), f"cannot be written: {error.strerror}")) from error
    for file, each in files.items():
        write_text(file, each.text(found.base, network), HmhsaInsertError)
    wrote(folder, f"{len(files)} recipes; `hmhsa-insert apply MODEL --recipe FILE` applies one")


def _check_free(files: Iterable[Path], overwrite: bool) -> None:
    """Refuse files that are there, unless they are older suggestions, which may be replaced."""
    tip = "choose another folder, or replace what was suggested before: `overwrite=True`"
    there = [
        Problem(str(file), "it exists already", tip)
        for file in files
        if file.exists() and not (overwrite and _is_suggestion(file))
    ]
    if there:
        raise HmhsaInsertError(there)


def _is_suggestion(file: Path) -> bool:
    from hmhsa_insert.costs.suggested import INTENT

    return file.is_file() and read_file(file, HmhsaInsertError, RECIPE).startswith(INTENT)
