"""Records as profiles and training runs leave them, small enough to work out by hand."""

from __future__ import annotations

from typing import Any

from typer.testing import CliRunner

from hmhsa_insert.commands import app
from hmhsa_insert.reports.published import published_records
from hmhsa_insert.tables import Table

ENVIRONMENT = {
    "cpu": "Some CPU",
    "device": "cpu",
    "threads": 2,
    "dtype": "float32",
    "channels_last": True,
    "compiled": False,
    "versions": {"torch": "2.15.0"},
}


def profile(name: str, side: int = 224, **quantities: Any) -> dict[str, Any]:
    """Return a profile as `ProfileRecord.as_dict` gives it, with what a test cares about."""
    height, width = (side, side) if isinstance(side, int) else side
    record = {
        "kind": "profile",
        "version": 1,
        "name": name,
        "group": "resnet18",
        "input_size": [3, height, width],
        "num_params": 11_689_512,
        "num_trainable": 11_689_512,
        "macs": 1_814_073_344,
        "flops": 3_628_146_688,
        "macs_modules_only": 1_814_074_344,
        "activations": 2_484_712,
        "by_module": [],
        "environment": ENVIRONMENT,
        "memory": None,
        "inference": None,
        "training": None,
    }
    return record | quantities


def latency(ms: float, ratio: float = 1.0) -> dict[str, Any]:
    """Return a latency record."""
    return {"latency_ms": ms, "images_per_s": 1000 / ms, "time_ratio": ratio, "batch": 1, "clock": "wall"}


def memory(per_image: float) -> dict[str, Any]:
    """Return a memory record of `per_image` bytes."""
    return {"batch": 2, "saved_bytes_per_image": per_image, "by_module": {}, "peak": None}


def training(name: str, top1: float, **more: Any) -> dict[str, Any]:
    """Return the record of a training run."""
    return {"kind": "training", "name": name, "input_size": [3, 224, 224], "top1": top1} | more


RECORDS = [
    profile(
        "resnet18 + stage3", macs=1_995_480_678, memory=memory(22 * 2**20), inference=latency(12.0, 1.25)
    ),
    profile("resnet18", memory=memory(20 * 2**20), inference=latency(10.0)),
    training("resnet18", 70.0),
    training("resnet18 + stage3", 71.25, group="resnet18"),
    profile("lonely", group="lonely", num_params=999_999, macs=40_000_000, macs_modules_only=30_000_000),
]
ALL = [*RECORDS, *published_records()]
SIZES = [profile("resnet18", side, memory=memory(side**2)) for side in (112, 448)]


def run(line: str) -> Any:
    """Run a command line; return what became of it."""
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, line.split())


def texts(table: Table) -> list[list[str]]:
    """Return a table's heads, and the texts of its rows."""
    rows = [[cell.text for cell in row.cells] for row in table.rows]
    return [[header.text for header in table.headers], *rows]
