"""Trained detectors in reports: the paper's two tables, and what is compared with what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from report_records import RECORDS, profile

from hmhsa_insert.reports.frame import as_records, tidy
from hmhsa_insert.reports.problems import ReportError
from hmhsa_insert.reports.render import render, report_tables
from hmhsa_insert.reports.sources import load_records

BOX = {"AP": 0.312, "AP50": 0.5, "AP75": 0.331, "APs": 0.1, "APm": 0.2, "APl": None}
COST = {"num_params": 37_989_437, "macs": 238_978_357_760, "macs_modules_only": 239_049_195_530}


def run(
    folder: Path, recipe: str | None = None, ap: float = 0.312, mask: dict[str, Any] | None = None
) -> Path:
    folder.mkdir()
    kind = "maskrcnn" if mask else "retinanet"
    config = {
        "task": "segment" if mask else "detect",
        "detector": kind,
        "model": "resnet18",
        "recipe": {"name": recipe} if recipe else None,
        "settings": {"detector": {"min_size": 800, "max_size": 1333}},
        "data": {"source": "shapes", "val": 1200},
    }
    result = {"task": config["task"], "detector": kind, "box": {**BOX, "AP": ap}, "mask": mask, **COST}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_runs_of_detectors_are_the_papers_tables(tmp_path: Path) -> None:
    mask = {**BOX, "AP": 0.287}
    folders = [
        run(tmp_path / "a"),
        run(tmp_path / "b", "stage3", 0.3301),
        run(tmp_path / "c", mask=mask),
    ]
    records = [*RECORDS, *load_records(folders)]
    tables = report_tables(records, title="All")
    assert [table.title for table in tables] == [
        "All",
        "All · Object detection",
        "All · Instance segmentation: masks",
        "All · Instance segmentation: boxes",
    ]
    _, detection, masks, boxes = tables
    assert [header.text for header in detection.headers] == [
        *("Method", "#Params", "Layer MACs", "AP", "AP50", "AP75", "APs", "APm", "APl")
    ]
    assert [[cell.text for cell in row.cells] for row in detection.rows] == [
        ["retinanet resnet18", "38.0M", "239.05G", "31.2", "50.0", "33.1", "10.0", "20.0", ""],
        ["retinanet resnet18 + stage3", "38.0M", "239.05G", "33.0", "50.0", "33.1", "10.0", "20.0", ""],
    ]
    assert [header.text for header in masks.headers][3:5] == ["Mask AP", "Mask 50"]
    assert masks.rows[0].cells[3].text == "28.7"
    assert boxes.rows[0].cells[3].text == "31.2"
    assert "AP of our runs: on shapes, 1,200 images" in detection.shown().notes
    assert len(tables[0].rows) == 3
    assert render(records, "md").count("|AP50|AP75|") == 2


def test_the_difference_is_to_the_same_detector_without_the_recipe(tmp_path: Path) -> None:
    records = load_records([run(tmp_path / "a"), run(tmp_path / "b", "stage3", 0.3301)])
    cost = profile("retinanet resnet18 + stage3", (800, 1333), group="retinanet resnet18", **COST)
    base, edited = as_records(tidy([*records, cost]))
    assert edited["delta_box_ap"] == pytest.approx(0.0181)
    assert base["delta_box_ap"] is None
    assert edited["mask_ap"] is None
    assert edited["num_trainable"] == 11_689_512  # the profile of the same method and size is the same row
    (table,) = report_tables([*records, cost], columns=["method", "box_ap", "delta_box_ap"])
    assert [cell.text for cell in table.rows[1].cells] == ["retinanet resnet18 + stage3", "33.0", "+1.8"]


def test_a_damaged_run_is_said(tmp_path: Path) -> None:
    folder = run(tmp_path / "a")
    (folder / "result.json").write_text(json.dumps({"box": 3, **COST}))
    with pytest.raises(ReportError, match=r"result\.json: it is damaged: 'box' must be a mapping, found 3"):
        load_records([folder])
