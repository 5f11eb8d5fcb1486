"""The committed ImageNet table: its totals re-added, its formats in step, its figures counted again."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from pathlib import Path

import pytest

from hmhsa_insert.recipe import load_recipe, shipped_recipes

REPORTS = Path(__file__).parents[2] / "reports"
QUANTITIES = ("num_params", "macs", "macs_modules_only", "activations", "saved_bytes_per_image")


def read(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((REPORTS / name).read_text(encoding="utf-8").splitlines()))


ROWS = {row["method"]: row for row in read("imagenet_cost.csv")}
OURS = {name: row for name, row in ROWS.items() if row["published"] == "False"}
BASES = [name for name, row in OURS.items() if name == row["group"]]


def test_parts_add_up_to_every_total():
    sums: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(QUANTITIES, 0.0))
    for part in read("imagenet_cost_parts.csv"):
        for name in QUANTITIES:
            sums[part["method"]][name] += float(part[name])
    assert sums.keys() == OURS.keys()
    for method, row in OURS.items():
        assert {name: float(row[name]) for name in QUANTITIES} == sums[method]


def test_differences_are_to_the_base():
    for row in OURS.values():
        base = OURS[row["group"]]
        for name in QUANTITIES:
            delta = row[f"delta_{name}"]
            assert (delta == "") == (row is base)
            assert row is base or float(row[name]) / float(base[name]) - 1 == pytest.approx(float(delta))


def test_all_networks_are_there_with_every_shipped_recipe():
    families = {name.partition("_")[0]: 0 for name in BASES}
    for name in BASES:
        families[name.partition("_")[0]] += 1
    assert families == {"resnet18": 1, "resnet50": 1, "mobilenetv2": 1, "hat": 4, "irb": 4, "transcnn": 4}
    used = {name.partition(" + ")[2] for name in OURS} - {""}
    shipped_names = {load_recipe(shipped.name).name for shipped in shipped_recipes()}
    # none of these networks has a GELU to replace
    assert used == shipped_names - {"silu"}


@pytest.mark.parametrize(
    ("name", "field", "gmacs"),
    [
        ("resnet50", "macs", 4.089),
        ("hat_net_tiny", "macs_modules_only", 1.974),
        ("hat_net_small", "macs_modules_only", 4.300),
        ("hat_net_medium", "macs_modules_only", 8.308),
        ("hat_net_large", "macs_modules_only", 11.458),
        ("hat_net_large", "macs", 12.075),
    ],
)
def test_the_known_figures(name, field, gmacs):
    assert round(float(OURS[name][field]) / 1e9, 3) == gmacs


def test_irb_with_its_recipe_is_the_published_network():
    for size in ("tiny", "small", "medium", "large"):
        for name in QUANTITIES[:4]:
            assert OURS[f"irb_{size} + transcnn"][name] == OURS[f"transcnn_{size}"][name]


def test_every_format_has_every_row_and_its_figures():
    texts = {
        end: (REPORTS / f"imagenet_cost.{end}").read_text(encoding="utf-8") for end in ("md", "tex", "html")
    }
    for method, row in OURS.items():
        gmacs = f"{float(row['macs']) / 1e9:.2f}G"
        assert re.search(rf"^\|{re.escape(method)} *\|.*\| *{gmacs}\|", texts["md"], re.MULTILINE)
        escaped = method.replace("_", r"\_")
        assert re.search(rf"^{re.escape(escaped)} & .* & {gmacs} & ", texts["tex"], re.MULTILINE)
        assert f'data-value="{float(row["macs"])}">{gmacs}</td>' in texts["html"]
    assert "fvcore counts" not in texts["md"]


def test_the_picture_shows_what_the_parts_are():
    """Each bar of the README's picture is there, and what recipes put in is one part."""
    text = (REPORTS / "imagenet_cost.svg").read_text(encoding="utf-8")
    labels = re.findall(r"<!-- (.*?) -->", text)
    bars = [f"resnet50{more} @ 224" for more in ("", " + bottleneck", " + stage234", " + stage3", " + tdb")]
    assert [label for label in labels if "@" in label] == bars
    assert [label for label in labels if label[:5] in ("stage", "inser")] == [
        *(f"stage {number}" for number in range(5)),
        "inserted blocks",
    ]


def count_anew(name: str):
    from hmhsa_insert.costs.candidates import candidates
    from hmhsa_insert.costs.count import count
    from hmhsa_insert.surgery.artifact.artifact import open_model

    base, _, recipe = name.partition(" + ")
    found = candidates([open_model(base, meta=True)], [load_recipe(recipe)] if recipe else [], (3, 224, 224))
    return count(found[name])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("resnet18", "irb_tiny + stage234") else [pytest.mark.long])
        for name in OURS
    ],
)
def test_a_row_is_what_is_counted_today(name):
    counts, row = count_anew(name), OURS[name]
    for field in QUANTITIES[:4]:
        assert getattr(counts, field) == int(row[field])
