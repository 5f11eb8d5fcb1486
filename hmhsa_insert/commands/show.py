"""``hmhsa-insert show DIR``: what an artefact holds, without building it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def show(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `apply` wrote.")]) -> None:
    """Show what an artefact holds: base network, versions, recipe, sites, weights."""
    from rich.syntax import Syntax

    from hmhsa_insert.commands.console import bold, out
    from hmhsa_insert.commands.tables import big, plan_table
    from hmhsa_insert.recipe import load_recipe
    from hmhsa_insert.surgery.artifact import read_record, weights_summary

    record, plans = read_record(folder)
    count, size = weights_summary(folder)
    source = record.get("source") or "unknown: pass --base MODULE:FACTORY"
    options = ", ".join(f"{key}={value}" for key, value in record["kwargs"].items())
    out.print(bold(str(folder)), soft_wrap=True)
    out.print(f"base network  {record.get('class')}, {source}{f' ({options})' if options else ''}")
    out.print("made with     " + ", ".join(f"{name} {text}" for name, text in record["versions"].items()))
    out.print(f"weights       {count} tensors, {big(size)}B")
    for ledger in plans:
        out.print(f"edited with   backend {ledger.backend}, seed {ledger.seed}\n")
        out.print(plan_table(ledger.plan))
        out.print(Syntax(load_recipe(ledger.plan.recipe).dump(), "yaml", background_color="default"))
