"""``suggest --data``: what is printed, written, and refused."""

import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

import hmhsa_insert as hi
from hmhsa_insert.commands import app
from hmhsa_insert.commands.suggest_data import read_time
from hmhsa_insert.errors import HmhsaInsertError
from hmhsa_insert.placement.pretest import pretest

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


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5 h", 5400)])
def test_times(text: str, seconds: float) -> None:
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
