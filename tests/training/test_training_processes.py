"""Two processes on the CPU compute what one does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from dist_driver import SPECS, calm_run, count_evaluation
from safetensors.torch import load_file
from training_nets import few_digits

from hmhsa_insert.training.loop.seeding import UPDATE, derived_seed

HERE = Path(__file__).parent
LAUNCH = (
    "-m",
    "torch.distributed.run",
    "--nproc-per-node",
    "2",
    "--master-port",
    "0",
    "--rdzv-backend",
    "c10d",
)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        *LAUNCH,
        "--rdzv-endpoint",
        "localhost:0",
        str(HERE / "dist_driver.py"),
        str(folder),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def found(two: Path) -> dict[str, Any]:
    return json.loads((two / "found.json").read_text())


def test_every_image_is_evaluated_once(found: dict[str, Any]) -> None:
    alone = count_evaluation(few_digits(val=61))
    assert found["evaluation"]["indices"] == list(range(61))
    assert found["evaluation"]["predicted"] == alone["predicted"]
    assert found["evaluation"]["confusion"] == alone["confusion"]
    assert sum(map(sum, alone["confusion"])) == 61
    assert found["evaluation"]["loss"] == pytest.approx(alone["loss"], abs=1e-6)


def test_same_losses_and_weights_on_the_same_global_batch(two: Path, tmp_path: Path) -> None:
    calm_run(tmp_path / "one")
    a, b = (pd.read_csv(path / "metrics.csv") for path in (tmp_path / "one", two / "two"))
    for column in ("train_loss", "val_loss"):
        assert (a[column] - b[column]).abs().max() < 1e-5
    for column in ("train_top1", "top1", "top5", "updates", "images"):
        assert a[column].tolist() == b[column].tolist()
    one, both = (load_file(path / "last.safetensors") for path in (tmp_path / "one", two / "two"))
    assert max(float((one[key] - both[key]).abs().max()) for key in one) < 1e-5
    assert a.train_loss.iloc[0] > a.train_loss.iloc[1]


def test_each_process_draws_for_itself(found: dict[str, Any]) -> None:
    # Two epochs of four updates; the numbers are those of the update, the accumulated batch and the process.
    assert found["seeds"] == [
        [derived_seed(0, UPDATE, update, 0, process) for update in range(8)] for process in (0, 1)
    ]
    assert not set(found["seeds"][0]) & set(found["seeds"][1])


def test_no_parameter_of_any_shipped_block_goes_unused(found: dict[str, Any]) -> None:
    assert found["unused"] == []
    missing = set(found["blocks"]) - set(SPECS)
    assert not missing, f"these blocks are not tried: {missing}"


def test_fsdp_wraps_a_spliced_network(found: dict[str, Any]) -> None:
    assert 0.4 < found["fsdp"]["share"] < 0.6  # each of the two processes holds about half
    assert found["fsdp"]["gamma"] > 0
    assert found["fsdp"]["outputs"] < 1e-5
    assert found["fsdp"]["weights"] < 1e-5


def test_a_whole_run_in_two_processes(two: Path) -> None:
    result = json.loads((two / "everything" / "result.json").read_text())
    assert result["epochs"] == 2
    assert result["updates"] == 8
    assert (two / "everything" / "artifact" / "model.safetensors").is_file()
    predictions = pd.read_csv(two / "everything" / "predictions.csv")
    assert len(predictions) == 60
    assert predictions.image.is_unique
