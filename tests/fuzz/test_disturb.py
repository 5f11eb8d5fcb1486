"""A few disks that fill up and a folder that goes; `make test-disk` does many."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import disturb
import pytest

pytestmark = pytest.mark.skipif(not disturb.can_mount(), reason="needs the right to mount a tmpfs")


@pytest.mark.long
def test_full_disks_and_a_removed_folder(tmp_path: Path) -> None:
    """In a process of its own: autograd refuses to run in a child of one where it ran before."""
    report = tmp_path / "disturbed.md"
    driver = [sys.executable, disturb.__file__, "--disks", "2", "--removals", "1", "--report", str(report)]
    done = subprocess.run(driver, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [
        line.split("|") for line in report.read_text(encoding="utf-8").splitlines() if line.startswith("| ")
    ]
    assert [row[1].strip() for row in rows[1:]] == ["apply", "train", "train"]
    assert all(row[5].strip() == "none" for row in rows[1:])


def test_what_is_left_is_noticed() -> None:
    with disturb.disk(1 << 20) as where:
        (where / "run").mkdir()
        (where / "run" / ".writing-best.safetensors").write_text("x")
        (where / "run" / "metrics.csv").write_text("x")
        assert disturb.half_written(where) == ["run/.writing-best.safetensors"]
        assert set(disturb.written(where)) == {"run/.writing-best.safetensors", "run/metrics.csv"}
