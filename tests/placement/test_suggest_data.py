"""``suggest --data``: what is printed, written, and refused."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
from typer.testing import CliRunner

import hmhsa_insert as hi
from hmhsa_insert.commands import app
from hmhsa_insert.errors import HmhsaInsertError
from hmhsa_insert.placement.drawn import _mark
from hmhsa_insert.placement.finding import Finding, Raced
from hmhsa_insert.placement.pretest import pretest
from hmhsa_insert.placement.race import Lead
from hmhsa_insert.placement.suggest import read_time

SMALL = ["--set", "input_size=32", "--set", "epochs=1", "--set", "compute.device=cpu"]


def _run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["suggest", "test_resnet", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_the_prior_alone_is_printed_and_written_with_recipes_that_apply(tmp_path: Path) -> None:
    folder = tmp_path / "tried"
    blocks = ["--block", "hmhsa", "--block", "timm/se"]
    status, said, _ = _run("--data", "digits", *blocks, *SMALL, "--entrants", "0", "-o", str(folder))
    assert status == 0
    assert "by the prior alone: hmhsa@3" in said
    assert "nothing was trained" in said
    found = json.loads((folder / "placement.json").read_text())
    assert next(each["name"] for each in found["prior"]) == "hmhsa@3"
    assert len(found["prior"]) == 8
    assert found["race"] == []
    page = (folder / "placement.html").read_text()
    assert "<h1>by the prior alone: hmhsa@3" in page
    assert page.index("<svg") < page.index("block@stage")
    recipes = sorted(folder.glob("*.yaml"))
    assert len(recipes) == 3
    model = hi.load_model("test_resnet").model
    assert len(hi.plan(model, recipes[0], input_size=64).sites) == 1


def test_what_costs_too_much_is_left_out_and_named(tmp_path: Path) -> None:
    limits = ["--max-params", "+5%", "--entrants", "0", "-o", str(tmp_path / "tried"), "--json"]
    status, said, _ = _run("--data", "digits", *SMALL, *limits)
    found = json.loads(said)
    assert status == 0
    assert "hmhsa@3" in found["refused"]
    assert "over the limit" in found["refused"]["hmhsa@3"]
    assert {each["name"] for each in found["prior"]} == {"hmhsa@1", "hmhsa@2"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--entrants", "2"], "--entrants"),
        (["--block", "se", "--block", "irb"], "--block"),
        (["--data", "digits", "--max-memory", "+5%"], "--max-memory"),
        (["--data", "digits", "--budget", "soon"], "'soon' is not a time"),
        (["--data", "digits", "--block", "hmsha"], "there is no block type 'hmsha'"),
        (["--data", "digits", "--max-macs", "1K", *SMALL], "over the limit"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, error = _run(*arguments)
    assert status == 1
    assert said in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5 h", 5400), (45, 45)])
def test_times(text: str | float, seconds: float) -> None:
    assert read_time(text) == seconds


@pytest.mark.long
def test_after_the_budget_the_first_is_raced_and_no_other(tmp_path: Path) -> None:
    values = {"epochs": 1, "input_size": 16, "batch_size": 64, "compute": {"device": "cpu"}}
    found = pretest(
        "test_resnet", "digits", ["irb"], folder=tmp_path, entrants=3, share=0.8, seconds=0.0, settings=values
    )
    assert len(found.raced) == 1
    assert found.updates == round(0.8 * (1437 // 64))
    assert found.raced[0].lead is not None
    assert math.isfinite(found.raced[0].lead.mean)


def test_a_block_that_fits_nowhere_is_an_error(tmp_path: Path) -> None:
    values = {"epochs": 1, "input_size": 32, "batch_size": 64, "compute": {"device": "cpu"}}
    with pytest.raises(HmhsaInsertError, match="hmhsa@1"):
        pretest(
            "test_resnet", "digits", [{"type": "hmhsa", "head_dim": 13}], folder=tmp_path, settings=values
        )


QUICK = {"epochs": 1, "input_size": 16, "batch_size": 64, "compute": {"device": "cpu"}}


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Finding:
    folder = tmp_path_factory.mktemp("tried")
    model = timm.create_model("test_resnet", num_classes=10, in_chans=1)
    blocks = ["irb", {"type": "timm/se", "rd_ratio": 0.5}]
    return hi.suggest(model, data="digits", blocks=blocks, settings=QUICK, entrants=0, folder=folder)


def test_python_returns_what_was_found_with_a_frame_and_recipes_that_apply(prior: Finding) -> None:
    frame = prior.to_frame()
    assert list(frame["name"]) == [each.candidate.name for each in prior.scored]
    assert list(frame["gain"]) == sorted(frame["gain"], reverse=True)
    assert frame["lead"].isna().all()
    assert [each.to_dict() for each in prior.recipes] == [
        each.candidate.recipe.to_dict() for each in prior.scored[:3]
    ]
    edited = hi.apply(hi.load_model("test_resnet").model, prior.recipes[0], input_size=32)
    assert edited is not None
    assert prior.folder is not None
    assert json.loads((prior.folder / "placement.json").read_text()) == prior.to_dict()


def test_what_was_found_reads_at_80_columns_and_in_a_notebook(prior: Finding) -> None:
    assert max(map(len, str(prior).splitlines())) <= 80
    assert repr(prior) == f"<Finding: {prior.verdict}>"
    assert f"<b>{prior.verdict}</b>" in prior._repr_html_()


def test_what_was_found_is_drawn_where_it_was_tried(prior: Finding) -> None:
    assert prior.drawing is not None
    assert prior.folder is not None
    assert (prior.folder / "placement.svg").read_text() == prior.drawing.svg
    assert prior._repr_html_().endswith(prior.drawing.svg)
    drawn = {
        (column.name, mark.edit): mark
        for column in prior.drawing.contents.columns
        for box in column.boxes[-1:]
        for mark in box.marks
    }
    assert len(drawn) == len(prior.scored) == len(prior.drawing.contents.marks)
    for each in prior.scored:
        kind, stage = each.candidate.name.split("@")
        assert drawn[f"stage {stage}", kind].label == f"gain {each.own.gain:.2g}"
        assert drawn[f"stage {stage}", kind].where == each.candidate.site.qualname


def test_a_mark_says_who_leads(prior: Finding) -> None:
    first, second = prior.scored[:2]
    led = Raced(first, Lead(0.25, 5.0, 0.01, 20), 0.01)
    assert _mark(first, led).label == f"gain {first.own.gain:.2g}, lead +0.25 ✓"
    behind = _mark(second, Raced(second, Lead(-0.5, -1.0, 0.4, 20), 0.8)).label
    assert behind == f"gain {second.own.gain:.2g}, lead -0.5"


def test_a_frame_has_the_race_beside_the_prior(prior: Finding) -> None:
    first, second = prior.scored[:2]
    raced = (Raced(second, Lead(0.25, 5.0, 0.01, 20), 0.01), Raced(first, Lead(-0.5, -1.0, 0.4, 20), 0.8))
    found = replace(prior, raced=raced, apart=0.01, updates=40)
    frame = found.to_frame().set_index("name")
    assert frame.loc[second.candidate.name, ["lead", "p", "measurable"]].to_list() == [0.25, 0.01, True]
    assert not frame.loc[first.candidate.name, "measurable"]
    assert frame["lead"].notna().sum() == 2
    assert [each.name for each in found.recipes] == [second.candidate.recipe.name]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"blocks": ["irb"]}, "blocks: is of suggestions with data"),
        ({"folder": "x", "seed": 3}, "folder: is of suggestions with data"),
        ({"data": "digits", "max_memory": "+5%"}, "max_memory: is of suggestions by cost alone"),
        ({"data": "digits", "entrants": -1}, "entrants: must be 0 or more"),
        ({"data": "digits", "share": 1.5, "entrants": -1}, "share: must be above 0 and at most 1"),
        ({"data": "digits", "budget": -1.0}, "'-1.0' is not a time"),
        ({"data": "digits", "folder": "taken", "settings": QUICK}, "taken: cannot be written"),
    ],
)
def test_python_refuses_what_does_not_go_together(
    given: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("")
    with pytest.raises(HmhsaInsertError) as raised:
        hi.suggest("test_resnet", **given)
    assert said in str(raised.value)
    assert [each.name for each in tmp_path.iterdir()] == ["taken"]
