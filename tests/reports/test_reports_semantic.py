"""Trained segmenters in reports: the paper's table, and no figure that no source gives."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import yaml
from report_records import RECORDS

from hmhsa_insert.reports.render import render, report_tables
from hmhsa_insert.reports.sources import load_records

COST = {"num_params": 8_500_000, "macs": 33_800_000_000, "macs_modules_only": 33_000_000_000}


def run(folder: Path, recipe: str | None, miou: float) -> Path:
    folder.mkdir()
    config = {
        "task": "semantic",
        "decoder": "semantic_fpn",
        "model": "resnet18",
        "recipe": {"name": recipe} if recipe else None,
        "settings": {"input_size": 512},
        "data": {"source": "ade", "val": 2000},
    }
    scores = {"miou": miou, "mdice": 0.5, "pixel_accuracy": 0.9}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "result.json").write_text(json.dumps({"task": "semantic", "scores": scores, **COST}))
    return folder


def test_runs_of_segmenters_are_the_papers_table(tmp_path: Path) -> None:
    runs = load_records([run(tmp_path / "a", None, 0.3296), run(tmp_path / "b", "stage3", 0.3401)])
    first, table = report_tables([*RECORDS, *runs], title="All")
    assert (first.title, table.title) == ("All", "All · Semantic segmentation")
    heads = [header.text for header in table.headers]
    assert heads == ["Method", "#Params", "Layer MACs", "mIoU", "Δ mIoU"]
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["semantic_fpn resnet18", "8.5M", "33.00G", "33.0", ""],
        ["semantic_fpn resnet18 + stage3", "8.5M", "33.00G", "34.0", "+1.1"],
    ]
    assert "mIoU of our runs: on ade, 2,000 images" in render(runs, "md")
    (alone,) = report_tables(runs[:1])
    assert [header.text for header in alone.headers] == heads[:-1]
    rows = list(csv.DictReader(render(runs, "csv").splitlines()))
    assert [(row["miou"], row["mdice"], row["pixel_accuracy"]) for row in rows] == [
        ("0.3296", "0.5", "0.9"),
        ("0.3401", "0.5", "0.9"),
    ]


def test_networks_without_a_score_have_none(tmp_path: Path) -> None:
    # published.csv has no mIoU: published rows have it blank.
    rows = csv.DictReader(render(RECORDS, "csv").splitlines())
    assert all(row["miou"] == "" for row in rows)
