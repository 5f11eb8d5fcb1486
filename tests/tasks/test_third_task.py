"""A task that the package does not know: one file and one row, and every command takes it."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import ink
import pytest
import torch
from ink_nets import EDIT, RECIPE, SETTINGS, nano
from safetensors.torch import load_file
from typer.testing import CliRunner

import hmhsa_insert as hi
from hmhsa_insert.commands import app
from hmhsa_insert.tasks.table import TASKS
from hmhsa_insert.training import RunError, read_config, read_result, run

HERE = Path(__file__).parent
TRAINING = {"task": "ink", "recipe": RECIPE, "settings": SETTINGS}


@pytest.fixture(scope="module", autouse=True)
def _quick() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "draw_curves", lambda history, panels, path: path.touch())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of the task, edited by a recipe."""
    folder = tmp_path_factory.mktemp("ink") / "run"
    hi.train("ink_nets:nano", folder=folder, **TRAINING)
    return folder


def said(*arguments: str) -> str:
    done = CliRunner(env={"COLUMNS": "160"}).invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def test_it_is_at_most_eighty_lines() -> None:
    assert len(Path(ink.__file__).read_text().splitlines()) <= 80


def test_it_learns(trained: Path) -> None:
    result = read_result(trained)
    assert (result.task, set(result.scores)) == ("ink", {"closeness", "error"})
    assert result.scores["closeness"] == pytest.approx(1 / (1 + result.scores["error"]))
    assert result.best == pytest.approx(1 / (1 + result.scores["error"]), abs=0.2)
    assert result.scores["error"] < 0.3  # a network that says nothing is off by 0.4
    assert read_config(trained)["task"] == "ink"


def test_killed_it_goes_on_to_the_same_bits(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, str(HERE / "ink_nets.py"), str(folder)], env=environment)
    assert killed.returncode == -9
    assert read_result(folder) is None
    hi.train("ink_nets:nano", folder=folder, **TRAINING)
    for name in ("last.safetensors", "metrics.csv", "result.json"):
        assert (folder / name).read_bytes() == (trained / name).read_bytes()


def test_it_is_evaluated(trained: Path) -> None:
    found = hi.evaluate(trained, allow_code=True, checkpoint="last")
    assert found.row == pytest.approx(read_result(trained).scores)
    (row,) = json.loads(said("evaluate", str(trained), "--checkpoint", "last", "--allow-code", "--json"))
    assert row["error"] == pytest.approx(found.row["error"])
    assert "closeness" in said("evaluate", str(trained), "--allow-code")


def test_options_that_it_cannot_use_are_refused_by_name(trained: Path, tmp_path: Path) -> None:
    arguments = ("evaluate", str(trained), "--allow-code", "--confusion", str(tmp_path / "c.png"))
    done = CliRunner(env={"COLUMNS": "160"}).invoke(app, arguments)
    assert done.exit_code == 1
    assert "--confusion: the task 'ink' does not use it" in done.output


def test_a_run_of_a_task_that_is_not_there_is_said_and_none_is_taken_for_another(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match="its task is 'ink', and 'classify' was asked for"):
        hi.evaluate(trained, task="classify", allow_code=True)
    monkeypatch.delitem(TASKS, "ink")
    done = CliRunner(env={"COLUMNS": "160"}).invoke(app, ["evaluate", str(trained), "--allow-code"])
    assert done.exit_code == 1
    assert "config.yaml: there is no task 'ink'" in done.output.replace("\n", "")


def test_it_is_saved_loaded_and_profiled(trained: Path, tmp_path: Path) -> None:
    model = hi.load(trained / "artifact", nano(num_classes=1, in_chans=1))
    assert model(torch.zeros(1, 1, 16, 16)).shape == (1, 1)
    assert hi.profile(model, (1, 16, 16)).num_params == read_result(trained).num_params
    weights = load_file(trained / "best.safetensors")
    for key, tensor in (
        hi.load(hi.save(model, tmp_path / "a"), nano(num_classes=1, in_chans=1)).state_dict().items()
    ):
        assert torch.equal(tensor, weights[key])


def test_it_is_reported(trained: Path) -> None:
    (row,) = csv.DictReader(said("report", str(trained), "--format", "csv").splitlines())
    assert float(row["closeness"]) == pytest.approx(read_result(trained).scores["closeness"])
    assert "closeness" in said("report", str(trained))


def test_it_is_ablated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = {
        "version": 1,
        "name": "ink",
        "task": "ink",
        "models": {"nano": "ink_nets:nano"},
        "data": "digits",
        "seeds": 2,
        "settings": {"quick": SETTINGS | {"epochs": 1}},
        "variants": {"plain": None, "attn": {"edits": [EDIT]}},
    }
    done = hi.ablate(study, tmp_path / "study")
    assert done.count("done") == 4
    table = json.loads(said("report", str(tmp_path / "study"), "--format", "json"))
    plain, attn = table["rows"]
    scores = [outcome.score for outcome in done.outcomes.values()]
    assert plain["closeness_mean"] == pytest.approx(sum(scores[:2]) / 2)
    assert attn["diff_mean"] == pytest.approx((sum(scores[2:]) - sum(scores[:2])) / 2)
    assert "closeness ± sd" in said("report", str(tmp_path / "study"))
