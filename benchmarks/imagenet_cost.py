"""Make the paper's ImageNet cost table: ``python benchmarks/imagenet_cost.py`` writes ``reports/imagenet_cost.*``.

The table as ``.md``, ``.tex``, ``.csv`` and ``.html``, and the README's picture as ``.svg``. Every network plain and
with every shipped recipe that fits it, at 224 pixels; beside them what others published: the presets' top-1, and
networks of the literature with a block and without, trained alike. Costs are counted on fake tensors, so any machine
gives the same table. Most of the time, some ten minutes on two cores, is fvcore's cross-check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
from rich.progress import track

from hmhsa_insert.costs.candidates import candidates
from hmhsa_insert.costs.profile import profile_all
from hmhsa_insert.errors import PlanError
from hmhsa_insert.models import CONFIGS
from hmhsa_insert.recipe import load_recipe, shipped_recipes
from hmhsa_insert.reports.data import to_csv
from hmhsa_insert.reports.formats import format_of
from hmhsa_insert.reports.parts import REST, parts_frame
from hmhsa_insert.reports.plots import part_bars
from hmhsa_insert.reports.published import literature_records, published_records
from hmhsa_insert.reports.render import render
from hmhsa_insert.reports.sources import Record
from hmhsa_insert.surgery.artifact.artifact import open_model

REPORTS = Path(__file__).parents[1] / "reports"
NETWORKS = ("resnet18", "resnet50", "mobilenetv2_100", *sorted(CONFIGS))
SIZE = (3, 224, 224)
COLUMNS = (
    "method",
    "size",
    "params",
    "layer_macs",
    "macs",
    "memory",
    "top1",
    "delta_top1",
    "delta_params",
    "delta_macs",
    "delta_memory",
)
TITLE = "What networks cost on ImageNet, plain and with the shipped recipes"
PICTURED = ("resnet50", *(f"resnet50 + {recipe}" for recipe in ("bottleneck", "stage3", "tdb", "stage234")))


def profiles(name: str) -> list[Record]:
    """Return the profiles of one network, plain and with the recipes that fit; it is the base of its group."""
    network = open_model(name, meta=True)
    found = {network.name: network.model}
    for shipped in shipped_recipes():
        with suppress(PlanError):  # it does not fit this network
            found |= candidates([network], [load_recipe(shipped.name)], SIZE)
    return [record.as_dict() for record in profile_all(found, SIZE, memory=True, per="stage")]


def beside_presets(records: Iterable[Record]) -> Iterator[Record]:
    """Yield records, after each preset its authors' figures: its top-1 is theirs, nobody here trained it."""
    theirs = {record["preset"]: record for record in published_records()}
    for record in records:
        yield record
        if record["name"] in theirs:
            yield {**theirs[record["name"]], "group": record["name"]}


def write(records: list[Record]) -> None:
    rows = [*beside_presets(records), *literature_records()]
    for ending in ("md", "tex", "csv", "html"):
        file = REPORTS / f"imagenet_cost.{ending}"
        text = render(rows, format_of(file.name), columns=COLUMNS, title=TITLE, parts=ending == "html")
        file.write_text(text, encoding="utf-8")
    parts = parts_frame(records)
    (REPORTS / "imagenet_cost_parts.csv").write_text(to_csv(parts), encoding="utf-8")
    (REPORTS / "imagenet_cost.svg").write_text(picture(parts), encoding="utf-8")


def picture(parts: pd.DataFrame) -> str:
    """Return ResNet-50's MACs by stage as SVG, plain and with some recipes; what these put in is one part."""
    shown = parts[parts["method"].isin(PICTURED)]
    own = shown["part"].str.startswith("stage") | (shown["part"] == REST)
    drawn = part_bars(shown.assign(part=shown["part"].where(own, "inserted blocks")))
    assert drawn is not None
    return drawn.svg


if __name__ == "__main__":
    write([record for name in track(NETWORKS, "profiling") for record in profiles(name)])
