"""An evaluation is the same, byte for byte, however it is run."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training_nets import QUICK

from hmhsa_insert.training import train
from hmhsa_insert.training.data.digests import KEPT_FROM

HERE = Path(__file__).parent


def _pets(root: Path) -> Path:
    """Write enough pictures for their digests to be kept, of names and numbers that fit no batch."""
    rng = np.random.default_rng(0)
    for split, count in (("train", KEPT_FROM // 2), ("val", 19)):
        for name, level in (("A", 90), ("a", 120), ("01", 150)):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = (level + rng.integers(-60, 60, (9, 11, 3))).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{index}.png")
    return root


def _scored(run: Path, out: Path, cache: Path, seed: int, workers: int, processes: int) -> bytes:
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    launch += ["--rdzv-endpoint", "localhost:0"]
    command = [sys.executable, *(launch if processes == 2 else []), str(HERE / "evaluate_driver.py")]
    environment = os.environ | {
        "PYTHONHASHSEED": str(seed),
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
        "XDG_CACHE_HOME": str(cache),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [*command, str(run), str(workers), str(out)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out.read_bytes()


@pytest.mark.long
def test_processes_workers_caches_and_hash_seeds_change_no_byte(tmp_path: Path) -> None:
    settings = QUICK | {"epochs": 1, "batch_size": 40}
    train("training_nets:plain", str(_pets(tmp_path / "set")), settings=settings, folder=tmp_path / "run")
    said = [
        _scored(tmp_path / "run", tmp_path / "out", tmp_path / cache, seed, workers, processes)
        for cache, seed, workers, processes in (
            ("one", 0, 0, 1),
            ("one", 1, 2, 1),
            ("two", 2, 0, 2),
            ("two", 0, 2, 2),
        )
    ]
    assert len(said[0]) == 57 * (8 + 8 + 8 + 1 + 8)
    assert len(set(said)) == 1
    assert [
        len(list((tmp_path / c / "hmhsa-insert" / "digests").glob("*.digests"))) for c in ("one", "two")
    ] == [1, 1]
