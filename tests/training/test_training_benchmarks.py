"""The benchmarks of training run, write where they say, and say so where there is no GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def _run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / name), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)


@pytest.mark.long
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which it would measure")
def test_without_a_gpu_the_command_is_ready_and_says_so(tmp_path: Path) -> None:
    done = _run("train_gpu.py", "-o", tmp_path / "gpu.md")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("no GPU here: run this where there is one")
    assert not (tmp_path / "gpu.md").exists()


@pytest.mark.long
def test_the_gpu_report_has_a_row_for_every_network_and_setting(tmp_path: Path) -> None:
    tiny = ("--model", "resnet18", "--size", 32, "--batch", 4, "--updates", 1, "--rounds", 3)
    done = _run("train_gpu.py", "--device", "cpu", *tiny, "--settings", 2, "-o", tmp_path / "gpu.md")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| ")][1:]
    assert [[cell.strip() for cell in row] for row in rows] == [
        [network, precision]
        for precision in ("float32", "bf16")
        for network in ("plain", "bottleneck.yaml", "stage3.yaml")
    ]


@pytest.mark.long
def test_the_loop_report_compares_with_both(tmp_path: Path) -> None:
    tiny = ("--model", "timm/test_resnet", "--size", 32, "--images", 32, "--batch", 8, "--rounds", 2)
    done = _run("train_loop.py", *tiny, "-o", tmp_path / "loop.md")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "loop.md").read_text(encoding="utf-8")
    assert "`hmhsa-insert train`'s loop" in text
    assert "Ours against timm's parts: " in text
    assert f"wrote {tmp_path / 'loop.md'}" in done.stdout
