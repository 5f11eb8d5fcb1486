"""Two processes on the CPU train one detector and score it as one process does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from hmhsa_insert.detection import make_shapes as shapes
from hmhsa_insert.detection.coco_data import open_coco
from hmhsa_insert.detection.evaluation import DETECTIONS
from hmhsa_insert.detection.metric import average_precision
from hmhsa_insert.training.result import read_result
from hmhsa_insert.training.score import candidate, score

HERE = Path(__file__).parent
LAUNCH = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0")
MEETING = ("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0")


@pytest.mark.long
def test_two_processes_score_as_one(tmp_path: Path) -> None:
    shapes.make_shapes(tmp_path / "data", images=16, size=64, seed=3)
    folder = tmp_path / "run"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), "OMP_NUM_THREADS": "1"}
    driver = [str(HERE / "detect_nets.py"), str(tmp_path / "data"), str(folder), "segment", "0"]
    command = [sys.executable, *LAUNCH, *MEETING, *driver]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]

    result = read_result(folder)
    assert result is not None
    assert result.mask is not None
    split = open_coco(tmp_path / "data", masks=True).val
    assert len(split) % 2 == 1  # two processes cannot halve it
    written = json.loads((folder / DETECTIONS).read_text())
    seen = [(found["image_id"], found["score"], tuple(found["bbox"])) for found in written]
    assert seen
    assert len(seen) == len(set(seen))  # no image was scored by both
    assert average_precision(split, written, "box") == result.box
    alone = score(candidate(folder, checkpoint="ema"))
    assert alone.box == pytest.approx(result.box, abs=1e-6)
    assert alone.mask == pytest.approx(result.mask, abs=1e-6)
    metrics = pd.read_csv(folder / "metrics.csv")
    assert metrics["train_loss"].iloc[1] < metrics["train_loss"].iloc[0]
