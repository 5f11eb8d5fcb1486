"""The benchmark of the training loop runs, and writes where it says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / name), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)


@pytest.mark.long
def test_the_loop_report_compares_with_both(tmp_path: Path) -> None:
    tiny = ("--model", "timm/test_resnet", "--size", 32, "--images", 32, "--batch", 8, "--rounds", 2)
    done = _run("train_loop.py", *tiny, "-o", tmp_path / "loop.md")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "loop.md").read_text(encoding="utf-8")
    assert "`hmhsa-insert train`'s loop" in text
    assert "Ours against timm's parts: " in text
    assert f"wrote {tmp_path / 'loop.md'}" in done.stdout
