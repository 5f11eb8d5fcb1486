"""Two processes on the CPU train one segmenter, and score it as one process does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from seg_nets import make

from hmhsa_insert.training.result import read_result
from hmhsa_insert.training.score import candidate, score

HERE = Path(__file__).parent
LAUNCH = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0")
MEETING = ("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0")


@pytest.mark.long
def test_two_processes_score_as_one(tmp_path: Path) -> None:
    data, folder = make(tmp_path / "data", images=16), tmp_path / "run"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), "OMP_NUM_THREADS": "1"}
    driver = [str(HERE / "seg_nets.py"), str(data), str(folder), "semantic_fpn", "0"]
    command = [sys.executable, *LAUNCH, *MEETING, *driver]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stderr[-4000:]
    result = read_result(folder)
    found = score(candidate(folder, checkpoint="ema"))
    assert found.images == 3  # two processes cannot halve it
    assert found.row == {
        "mIoU": result.miou,
        "mDice": result.mdice,
        "pixel_accuracy": result.pixel_accuracy,
    }
