"""``--draw``: the drawing beside what a command prints, or an error before anything is done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import error_of, output, run

import hmhsa_insert as hi

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
