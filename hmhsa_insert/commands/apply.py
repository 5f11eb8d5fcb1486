"""``hmhsa-insert apply MODEL --recipe R``: the main job, from network and recipe to a verified artifact."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hmhsa_insert.commands.inputs import BatchOption, InputOption, described
from hmhsa_insert.commands.options import (
    AllowCodeOption,
    JsonOption,
    ModelArgument,
    OverwriteOption,
    PretrainedOption,
    RecipeOption,
    SeedOption,
    SizeOption,
    WeightsOption,
    open_with_weights,
)
from hmhsa_insert.commands.shared import shared

if TYPE_CHECKING:
    from torch import nn

    from hmhsa_insert.surgery.base.inputs import Inputs
    from hmhsa_insert.surgery.proof.checks import Checks
    from hmhsa_insert.surgery.sites.site import Plan


def apply(
    model: ModelArgument,
    recipe: RecipeOption,
    output: Annotated[Path | None, shared("--output", writes="the artifact", metavar="DIR")] = None,
    weights: WeightsOption = None,
    pretrained: PretrainedOption = False,
    input_size: SizeOption = None,
    inputs: InputOption = None,
    fixed_batch: BatchOption = None,
    seed: SeedOption = 0,
    backend: Annotated[
        Literal["tree", "graph"], typer.Option(help="tree keeps the class; graph gives a GraphModule.")
    ] = "tree",
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Continue even if verifying takes more memory than is free.")
    ] = False,
    allow_code: AllowCodeOption = False,
) -> None:
    """Put a recipe's blocks into a network, prove what the edit did, and write the result.

    Example: `hmhsa-insert apply resnet50 --recipe stage3.yaml -o out`
    """
    from hmhsa_insert.blocks.in_recipe import read_recipe
    from hmhsa_insert.commands.console import notes, out, print_json, progress, wrote
    from hmhsa_insert.commands.printed import print_table, print_tables
    from hmhsa_insert.commands.tables import cost_table, costs_as_data, headline
    from hmhsa_insert.costs.count import count
    from hmhsa_insert.surgery.artifact.artifact import ARTIFACT, save
    from hmhsa_insert.surgery.artifact.folder import check_writable
    from hmhsa_insert.surgery.locate.stages import locate
    from hmhsa_insert.surgery.plan import plan_located

    if output is not None:
        check_writable(output, ARTIFACT, overwrite)
    read, problems = read_recipe(recipe)  # before a network is built or downloaded for it
    with progress.status("building the network"):
        loaded = open_with_weights(model, weights, pretrained, allow_code)
    taken = described(loaded, input_size, inputs, fixed_batch)
    on = notes if json else out
    on.print(headline(loaded, taken))
    with progress.status("tracing, locating, planning"):
        made = plan_located(loaded.model, locate(loaded.model, taken), read, problems)
    print_tables(made, on)
    edited, checks = _edit(loaded.model, made, seed, backend, yes)
    print_tables(checks, on)
    before, after = (count(each, made.inputs).per_sample for each in (loaded.model, edited))
    print_table(cost_table(before, after), on)
    if output is not None:
        wrote(save(edited, output, overwrite=overwrite), "load it with hi.load, or give it as MODEL")
    else:
        notes.print("nothing was written; -o DIR keeps the result")
    if json:
        cost = {"before": costs_as_data(before), "after": costs_as_data(after)}
        data = {"plan": made.to_dict(), "checks": [asdict(check) for check in checks], "cost": cost}
        print_json(data | {"folder": str(output) if output is not None else None})


def _edit(
    model: nn.Module, made: Plan, seed: int, backend: Literal["tree", "graph"], yes: bool
) -> tuple[nn.Module, Checks]:
    """Carry out a plan and verify it; print the checks and raise if one fails."""
    from hmhsa_insert.commands.console import progress
    from hmhsa_insert.commands.printed import print_tables
    from hmhsa_insert.errors import Problem, VerifyError
    from hmhsa_insert.surgery.apply import apply_plan
    from hmhsa_insert.surgery.verify import verify

    with progress.status("splicing"):
        edited = apply_plan(model, made, seed, backend)
        _print_memory(edited, made.inputs, yes)
    with progress.status("verifying"):
        checks = verify(model, edited)
    failed = [
        Problem(check.name, check.detail, "nothing was written") for check in checks if not check.passed
    ]
    if failed:
        print_tables(checks)
        raise VerifyError(failed)
    return edited, checks


def _print_memory(edited: nn.Module, inputs: Inputs, yes: bool) -> None:
    """Print how much memory verification needs if it is a lot, and refuse more than is free.

    Raises:
        HmhsaInsertError: it needs more memory than is free, and the user did not pass ``--yes``.
    """
    from hmhsa_insert.commands.console import notes
    from hmhsa_insert.costs.peak import WORTH_SAYING, free_memory, verification_peak
    from hmhsa_insert.errors import Argument, HmhsaInsertError, Problem

    needed, free = verification_peak(edited, inputs), free_memory()
    if needed is None or needed < WORTH_SAYING:
        return
    said = f"verifying two samples of {inputs} takes about {needed / 2**30:.1f} GiB of memory"
    if free is not None and needed > free and not yes:
        tip = "give a smaller `input_size=SIZE`: the result runs at others too; or `yes=True` to go on"
        raise HmhsaInsertError(
            Problem(Argument("input_size"), f"{said}, and {free / 2**30:.1f} GiB are free", tip)
        )
    notes.print(said)
