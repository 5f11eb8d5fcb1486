"""The benchmark of a GPU runs without one: its checks, its comparisons, and the report that several runs add to."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from hmhsa_insert.costs.steps import Setting

ROOT = Path(__file__).parents[2]
SLOW = ("torch.compile", "65,536 windows", "identity in float32")  # seconds each


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("gpu")


def _budget(gpu: ModuleType, minutes: float = 5.0) -> Any:
    return gpu.Budget(gpu.Where("cpu", quick=True), time.monotonic() + 60 * minutes, rounds=2)


def test_the_quick_checks_pass_here(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = {name: check for name, check in gpu.CHECKS.items() if name not in SLOW}
    monkeypatch.setattr(gpu, "CHECKS", quick)
    rows = {row["candidate"]: row["setting"] for row in gpu.checks(_budget(gpu), [])}
    assert rows == {name: "skipped" if name == "CUDA graphs" else "ok" for name in quick}


def test_a_check_that_fails_is_said(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def wrong(where: Any) -> str:
        raise AssertionError("differs\nby much")

    monkeypatch.setattr(gpu, "CHECKS", {"one": lambda where: "fine | so", "two": wrong})
    assert gpu.run(["checks"], _budget(gpu), tmp_path, again=False) == 1
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| one | ok | fine \\| so |" in text
    assert "| two | FAILED | AssertionError: differs |" in text
    monkeypatch.setattr(gpu, "CHECKS", {"two": lambda where: "mended"})
    assert gpu.run(["checks"], _budget(gpu), tmp_path, again=False) == 0
    assert [row["candidate"] for row in gpu.read(tmp_path)] == ["two"]


class Wrong(nn.Module):
    """Refuses every map."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Raise."""
        raise RuntimeError("too large")


def test_runs_add_to_the_report_and_measure_nothing_twice(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[str] = []

    def job(name: str) -> Any:
        def make() -> dict[str, nn.Module]:
            made.append(name)
            return {"first": nn.Conv2d(4, 4, 1), "second": nn.Conv2d(4, 4, 3, padding=1), "third": Wrong()}

        return gpu.Job(name, make, (4, 8, 8), 2, "inference", Setting("cpu", torch.float32))

    monkeypatch.setitem(gpu.SECTIONS, "blocks", gpu.compared(lambda where: iter([job("a")])))
    assert gpu.run(["blocks"], _budget(gpu), tmp_path, again=False) == 0
    monkeypatch.setitem(gpu.SECTIONS, "blocks", gpu.compared(lambda where: iter([job("a"), job("b")])))
    gpu.run(["blocks"], _budget(gpu), tmp_path, again=False)
    assert made == ["a", "b"]
    rows = gpu.read(tmp_path)
    assert [(row["section"], row["candidate"]) for row in rows] == [
        (section, name) for section in ("a", "b") for name in ("first", "second", "third")
    ]
    assert rows[0]["speed"] == "1.000"
    assert float(rows[0]["matmul_share"]) > 0
    assert (rows[2]["speed"], rows[2]["note"]) == ("", "RuntimeError: too large")
    assert "| third | RuntimeError: too large |" in (tmp_path / "README.md").read_text(encoding="utf-8")
    gpu.run(["blocks"], _budget(gpu), tmp_path, again=True)
    assert made == ["a", "b", "a", "b"]
    assert len(gpu.read(tmp_path)) == 6


def test_nothing_begins_once_the_time_is_over(gpu: ModuleType, tmp_path: Path) -> None:
    gpu.run(["blocks", "networks", "training", "maps"], _budget(gpu, minutes=-1.0), tmp_path, again=False)
    assert gpu.read(tmp_path) == []


def test_what_a_bare_machine_needs_has_our_dependencies_without_torch(gpu: ModuleType) -> None:
    names = {line.partition("==")[0] for line in gpu.needed()}
    assert {"timm", "fvcore", "safetensors", "pydantic", "typer", "accelerate"} <= names
    assert not {"torch", "pytest", "hmhsa-insert"} & names


@pytest.mark.long
def test_everything_runs_on_small_sizes(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "gpu.py"),
        "--device",
        "cpu",
        "--quick",
        "--minutes",
        "60",
    ]
    done = subprocess.run([*command, "-o", str(tmp_path)], capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "cpu" / "README.md").read_text(encoding="utf-8")
    for section in ("quick", "HAT-Net-Small", "ResNet-50", "training resnet18", "map 28", "Mask R-CNN"):
        assert f"\n## {section}, " in text
    assert "FAILED" not in text
