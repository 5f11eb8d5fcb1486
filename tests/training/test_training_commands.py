"""``hmhsa-insert train`` and ``evaluate`` as a user meets them."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from hmhsa_insert.commands.evaluate import evaluate
from hmhsa_insert.commands.train import train
from hmhsa_insert.errors import HmhsaInsertError
from hmhsa_insert.training import OptimizerStep, read_result

HERE = Path(__file__).parent
APP = typer.Typer()
APP.command()(train)
APP.command()(evaluate)
ONE = ("--epochs", "1", "--set", "batch_size=120", "--set", "compute.device=cpu")
MAIN = "import typer; from hmhsa_insert.commands.train import train; typer.run(train)"


def _run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(APP, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("command") / "run"
    result = _run(
        "train", "timm/test_resnet", "--recipe", "stage3.yaml", "--data", "digits", *ONE, "-o", folder
    )
    return folder, result


def test_train_says_what_it_did(run: tuple[Path, Result]) -> None:
    folder, result = run
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "built for the data, head: 10 classes, stem: 1 channel"
    assert lines[1] == "117 of 1,437 images, others each epoch, do not fill a batch and are left out"
    assert lines[2].startswith("epoch   1  lr ")
    assert "images/s" in lines[2]
    assert lines[3].startswith("top-1 ")
    assert read_result(folder) is not None


def test_the_bar_holds_everything_in_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the middle of ImageNet: epoch, share, time left, loss, accuracy, speed, none of it cut."""
    module = sys.modules["hmhsa_insert.commands.train"]
    screen = Console(width=80, force_terminal=True, color_system=None, file=io.StringIO())
    monkeypatch.setattr("hmhsa_insert.commands.console.notes", screen)
    bar = module._Bar()
    with bar:
        bar.step(OptimizerStep(123, 300, 1234, 5004, 1.2345, {"top1": 45.67}, 12345.6))
        bar._progress.refresh()
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "epoch 123/300" in shown
    assert " 41% " in shown
    assert "loss 1.234 top-1 45.67 % 12346 img/s" in shown
    assert "…" not in shown


def test_the_same_command_on_a_finished_run(run: tuple[Path, Result]) -> None:
    folder, first = run
    again = _run(
        "train", "timm/test_resnet", "--recipe", "stage3.yaml", "--data", "digits", *ONE, "-o", folder
    )
    assert again.exit_code == 0
    assert again.output.splitlines()[0] == f"finished before: {folder}"
    assert again.output.splitlines()[1] == first.output.splitlines()[3]


def test_evaluate_prints_a_row_for_each_and_the_classes_of_one(
    run: tuple[Path, Result], tmp_path: Path
) -> None:
    folder, _ = run
    alone = _run("evaluate", folder, "--confusion", tmp_path / "confusion.png")
    assert alone.exit_code == 0, alone.output
    assert "digits: 360 images" in alone.output
    assert "lowest recall first" in alone.output
    assert (tmp_path / "confusion.png").read_bytes()[:4] == b"\x89PNG"
    both = _run(
        "evaluate", folder, folder / "artifact", "--data", "digits", "--json", "--set", "augment.crop_pct=1.0"
    )
    rows: list[dict[str, Any]] = json.loads(both.output)
    result = read_result(folder)
    assert result is not None
    assert [row["name"] for row in rows] == ["run", "artifact"]
    for row in rows:
        assert row["top1"] == pytest.approx(result.best_top1)
        assert row["num_params"] == result.num_params
        assert row["macs"] > 1e6
        assert row["images"] == 360
        assert set(row["per_class"]) == set("0123456789")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "timm/test_resnet", "--data", "nowhere"), "no such folder, and no data set of that name"),
        (("train", "timm/test_resnet", "--config", "digit"), "did you mean 'digits'?"),
        (("train", "timm/test_resnet", "--epochs", "0"), " epochs: must be greater than 0, found 0"),
        (
            ("train", "timm/test_resnet", "--set", "epochs=0"),
            "overrides epochs: 'epochs' must be greater than 0",
        ),
        (("train", "test_resnett"), "neither timm nor torchvision has a network of this name"),
        (("train", "timm/test_resnet", "--recipe", "stag3"), "did you mean 'stage3'"),
    ],
)
def test_problems_end_with_1_and_no_traceback(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = _run(*arguments, "-o", tmp_path / "run")
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_evaluate_needs_data_for_what_is_no_run() -> None:
    result = _run("evaluate", "timm/test_resnet")
    assert isinstance(result.exception, HmhsaInsertError)  # the app around it reports these
    assert "is not a run, so the data has to be named (give `data=SOURCE`)" in str(result.exception)


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        MAIN,
        "timm/test_resnet",
        "--data",
        "digits",
        "-o",
        str(tmp_path / "run"),
    ]
    command += ["--epochs", "40", "--set", "compute.device=cpu", "--set", "checkpoint_steps=2"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 120
    while not list((tmp_path / "run" / "checkpoints").glob("update-*")):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "stopped after update" in output
    assert "the same command goes on from there" in output
    assert "Traceback" not in errors
    kept = max((tmp_path / "run" / "checkpoints").glob("update-*"))
    assert str(kept) in output.replace("\n", "")


@pytest.mark.long
def test_torchrun_gives_what_one_process_gives(tmp_path: Path) -> None:
    """Two processes train the command's network on the same global batches; BatchNorm alone differs."""
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    program = tmp_path / "program.py"
    program.write_text(MAIN)
    command = [
        sys.executable,
        *launch,
        "--rdzv-endpoint",
        "localhost:0",
        str(program),
        "training_nets:irb_nano_group",
    ]
    command += ["--data", "digits", *ONE, "--set", "regularize.dropout=0", "-o", str(tmp_path / "two")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("epoch   1") == 1
    alone = _run(
        "train", "training_nets:irb_nano_group", *ONE, "--set", "regularize.dropout=0", "-o", tmp_path / "one"
    )
    assert alone.exit_code == 0, alone.output
    one, two = read_result(tmp_path / "one"), read_result(tmp_path / "two")
    assert one is not None
    assert two is not None
    assert two.top1 == one.top1
    assert two.loss == pytest.approx(one.loss, abs=1e-5)
