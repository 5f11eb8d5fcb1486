"""``hmhsa-insert apply MODEL --recipe R``: the main job, from network and recipe to a verified artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hmhsa_insert.commands.inputs import BatchOption, InputOption, described
from hmhsa_insert.commands.options import (
    AllowCodeOption,
    BaseOption,
    ModelArgument,
    PluginOption,
    RecipeOption,
    SizeOption,
    UnsafePickleOption,
    load_plugins,
    open_with_base,
)

if TYPE_CHECKING:
    from torch import nn

    from hmhsa_insert.surgery.base.inputs import Inputs
    from hmhsa_insert.surgery.base.load import LoadedModel
    from hmhsa_insert.surgery.sites.site import Plan


def apply(
    model: ModelArgument,
    recipe: RecipeOption,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Write the artifact here.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Base weights: .safetensors, or .pth without code.")
    ] = None,
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Download the library's weights.")] = False,
    input_size: SizeOption = None,
    given: InputOption = None,
    fixed_batch: BatchOption = None,
    seed: Annotated[int, typer.Option(help="Seed for the initial values of the new blocks.")] = 0,
    backend: Annotated[
        Literal["tree", "graph"], typer.Option(help="tree keeps the class; graph gives a GraphModule.")
    ] = "tree",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older artifact.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Continue even if verifying takes more memory than is free.")
    ] = False,
    base: BaseOption = None,
    allow_code: AllowCodeOption = False,
    unsafe_pickle: UnsafePickleOption = False,
    plugin: PluginOption = None,
) -> None:
    """Splice a recipe's blocks into a network, prove what the edit did, and write the result.

    Example: `hmhsa-insert apply resnet50 --recipe stage3.yaml -o out`
    """
    from hmhsa_insert.commands.console import out, wrote
    from hmhsa_insert.commands.printed import print_tables
    from hmhsa_insert.commands.tables import headline
    from hmhsa_insert.surgery.artifact.artifact import ARTIFACT, save
    from hmhsa_insert.surgery.artifact.folder import check_writable
    from hmhsa_insert.surgery.locate.stages import locate
    from hmhsa_insert.surgery.plan import plan_located, read_recipe

    if output is not None:
        check_writable(output, ARTIFACT, overwrite)
    load_plugins(plugin)
    read, problems = read_recipe(recipe)  # before a network is built or downloaded for it
    with out.status("building the network"):
        loaded = _build(model, base, allow_code, unsafe_pickle, weights, pretrained)
    inputs = described(loaded, input_size, given, fixed_batch)
    out.print(headline(loaded, inputs))
    with out.status("tracing, locating, planning"):
        made = plan_located(loaded.model, locate(loaded.model, inputs), read, problems)
    print_tables(made)
    edited = _edit(loaded.model, made, seed, backend, yes)
    if output is None:
        out.print("nothing was written; -o DIR keeps the result")
        return
    wrote(save(edited, output, overwrite=overwrite), "load it with hi.load, or give it as MODEL")


def _build(
    model: str,
    base: str | None,
    allow_code: bool,
    unsafe_pickle: bool,
    weights: Path | None,
    pretrained: bool,
) -> LoadedModel:
    from hmhsa_insert.errors import HmhsaInsertError, Problem
    from hmhsa_insert.models import load_weights

    if pretrained and weights is not None:
        message = "it cannot be combined with --weights: a network starts with one set of weights"
        raise HmhsaInsertError(Problem("--pretrained", message))
    loaded = open_with_base(model, base, allow_code, unsafe_pickle=unsafe_pickle, pretrained=pretrained)
    if weights is not None:
        load_weights(loaded.model, weights)
    return loaded


def _edit(model: nn.Module, made: Plan, seed: int, backend: Literal["tree", "graph"], yes: bool) -> nn.Module:
    """Carry out a plan, verify it and print the checks; raise if one fails."""
    from hmhsa_insert.commands.console import out
    from hmhsa_insert.commands.printed import print_table, print_tables
    from hmhsa_insert.commands.tables import cost_table
    from hmhsa_insert.costs.count import count
    from hmhsa_insert.errors import Problem, VerifyError
    from hmhsa_insert.surgery.apply import apply_plan
    from hmhsa_insert.surgery.verify import verify

    with out.status("splicing"):
        edited = apply_plan(model, made, seed, backend)
        _print_memory(edited, made.inputs, yes)
    with out.status("verifying"):
        checks = verify(model, edited)
    print_tables(checks)
    failed = [
        Problem(check.name, check.detail, "nothing was written") for check in checks if not check.passed
    ]
    if failed:
        raise VerifyError(failed)
    before, after = (count(each, made.inputs).per_sample for each in (model, edited))
    print_table(cost_table(before, after))
    return edited


def _print_memory(edited: nn.Module, inputs: Inputs, yes: bool) -> None:
    """Print how much memory verification needs if it is a lot, and refuse more than is free.

    Raises:
        HmhsaInsertError: it needs more memory than is free, and the user did not pass ``--yes``.
    """
    from hmhsa_insert.commands.console import out
    from hmhsa_insert.costs.peak import WORTH_SAYING, free_memory, verification_peak
    from hmhsa_insert.errors import HmhsaInsertError, Problem

    needed, free = verification_peak(edited, inputs), free_memory()
    if needed is None or needed < WORTH_SAYING:
        return
    said = f"verifying two samples of {inputs} takes about {needed / 2**30:.1f} GiB of memory"
    if free is not None and needed > free and not yes:
        tip = "give a smaller --input-size: the result runs at others too; or --yes to go on"
        raise HmhsaInsertError(Problem("--input-size", f"{said}, and {free / 2**30:.1f} GiB are free", tip))
    out.print(said)
