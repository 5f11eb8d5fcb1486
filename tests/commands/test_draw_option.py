"""``--draw``: the drawing beside what a command prints, or an error before anything is done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
from command_line import error_of, output, run

import hmhsa_insert as hi
from hmhsa_insert.drawing.data import Contents

pytestmark = pytest.mark.usefixtures("here")


def test_stages_plan_and_show_draw() -> None:
    said = output("stages test_resnet --input-size 64 --draw plain.svg")
    assert said.startswith("wrote plain.svg\n")
    assert Path("plain.svg").read_text().startswith("<svg ")
    output("plan test_resnet --recipe stage3.yaml --input-size 64 --draw planned.svg")
    output("apply test_resnet --recipe stage3.yaml --input-size 64 -o made")
    output("show made --draw made.svg")
    planned, made = Path("planned.svg").read_text(), Path("made.svg").read_text()
    assert planned.replace("timm/test_resnet", "made") == made
    assert "hmhsa: + hmhsa" in made
    assert "hmhsa: + hmhsa" not in Path("plain.svg").read_text()
    assert made == hi.draw(hi.load("made"), name="made").svg


def test_json_stays_json() -> None:
    data = json.loads(run("stages test_resnet --input-size 64 --json --draw plain.svg").stdout)
    assert len(data["stages"]) == 5
    assert Path("plain.svg").exists()


def test_a_place_that_cannot_be_written_is_an_error_at_once() -> None:
    assert "there is no folder 'nowhere'" in error_of("stages test_resnet --draw nowhere/a.svg")
    Path("folder").mkdir()
    assert "this is a folder" in error_of("plan test_resnet --recipe stage3.yaml --draw folder")


def test_profile_keeps_drawings_in_its_records_and_pages_show_them() -> None:
    asked = "profile test_resnet --recipe stage3.yaml --input-size 64"
    output(f"{asked} --drawings --format json -o costs.json")
    records = json.loads(Path("costs.json").read_text())["records"]
    net = hi.apply(timm.create_model("test_resnet"), "stage3.yaml", input_size=64)
    drawn = hi.draw(net, name="test_resnet + stage3")
    assert Contents.of(records[1]["drawing"]) == drawn.contents
    output("report costs.json -o costs.html")
    assert drawn.svg in Path("costs.html").read_text()
    output(f"{asked} --drawings -o same.html")
    assert drawn.svg in Path("same.html").read_text()
    output(f"{asked} --format json -o plain.json")
    for record in records:
        del record["drawing"]
    assert json.loads(Path("plain.json").read_text())["records"] == records


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "--drawings: 'table' shows no drawings\n    --output costs.html writes a page"),
        ("--format md", "'md' shows no drawings"),
        ("--detector retinanet --json", "--drawings: is for models"),
    ],
)
def test_drawings_are_refused_where_nothing_would_show_them(more: str, said: str) -> None:
    assert said in error_of(f"profile test_resnet --drawings {more}")
