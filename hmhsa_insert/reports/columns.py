"""The columns a table can have: what each shows of the frame, how it is written, and what a reader must know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hmhsa_insert.errors import Problem, near
from hmhsa_insert.reports.problems import ReportError


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        key: its name in ``--columns``.
        header: what the table prints above it.
        field: the column of the frame it shows.
        text: writes one value; missing values are blank before it is asked.
        note: what a reader must know, printed once below the table; may be empty.
        numeric: whether it is aligned and sorted as a number.
        published_text: writes a published value, where authors print fewer digits than we know of ours.
    """

    key: str
    header: str
    field: str
    text: Callable[[Any], str]
    note: str = ""
    numeric: bool = True
    published_text: Callable[[Any], str] | None = None


def scaled(unit: float, suffix: str, digits: int) -> Callable[[Any], str]:
    """Return a writer of values divided by `unit`, with `digits` decimals and `suffix`."""
    return lambda value: f"{value / unit:.{digits}f}{suffix}"


def counted(value: float) -> str:
    """Write a count with the unit that suits it: 4.09G, 0.30G, 25.6M, 147.5K, 0."""
    for least, unit, suffix, digits in ((1e8, 1e9, "G", 2), (1e6, 1e6, "M", 1), (1e3, 1e3, "K", 1)):
        if value >= least:
            return f"{value / unit:.{digits}f}{suffix}"
    return f"{value:.0f}"


def significant(value: float) -> str:
    """Write `value` with three significant digits, and every digit before the point."""
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:.{digits}f}"


def _percent(value: float) -> str:
    # Adding zero turns the -0.0 of a rounding into 0.0.
    return f"{round(100 * value, 1) + 0.0:+.1f}%"


def _points(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"


def _share_points(value: float) -> str:
    return _points(100 * value)


# COCO's averages: the end of a column's name -> what papers print above it.
AVERAGES = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "aps": "APs", "apm": "APm", "apl": "APl"}


def _average_precision(kind: str) -> list[Column]:
    note = (
        f"AP of {kind}{'es' if kind == 'box' else 's'}: COCO's average precision in percent, over IoU 0.5 to 0.95; "
        "AP50 and AP75 at one; APs, APm, APl of small, medium and large objects"
    )
    return [
        Column(f"{kind}_{key}", _headed(kind, header), f"{kind}_{key}", scaled(0.01, "", 1), note)
        for key, header in AVERAGES.items()
    ]


def _headed(kind: str, name: str) -> str:
    """Return the head of a column; no two of a table may be alike, and six of them have to fit 80 characters."""
    return name if kind == "box" else f"Mask {name if name == 'AP' else name.removeprefix('AP')}"


_MEBIBYTES = scaled(2**20, " MiB", 1)
_BASE = "Δ: against the base, the first row of its group, at the same size"

COLUMNS: dict[str, Column] = {
    column.key: column
    for column in (
        Column("method", "Method", "method", str, numeric=False),
        Column("size", "Size", "pixels", str),
        Column("params", "#Params", "num_params", scaled(1e6, "M", 1)),
        Column(
            "flops",
            "#FLOPs",
            "macs_modules_only",
            counted,
            "#FLOPs: multiply–accumulates (MACs) of convolution and linear layers with bias, one image: "
            "what papers print under FLOPs",
            published_text=scaled(1e9, "G", 1),
        ),
        Column(
            "macs",
            "#MACs",
            "macs",
            counted,
            "#MACs: multiply–accumulates of convolutions and matrix products, those of attention included, one image",
        ),
        Column(
            "activations", "#Acts", "activations", scaled(1e6, "M", 1), "#Acts: outputs of those products"
        ),
        Column(
            "memory",
            "Memory",
            "saved_bytes_per_image",
            _MEBIBYTES,
            "Memory: saved for the backward pass of training, per image",
        ),
        Column("batch", "Batch", "largest_batch", scaled(1, "", 0)),
        Column(
            "peak",
            "Peak",
            "peak_bytes",
            _MEBIBYTES,
            "Peak: most allocated on the device in one training step",
        ),
        Column("throughput", "Img/s", "images_per_s", significant, "Img/s: images per second in inference"),
        Column("latency", "ms", "latency_ms", significant, "ms: median milliseconds of one inference step"),
        Column("latency_p10", "p10 ms", "latency_p10_ms", significant),
        Column("latency_p90", "p90 ms", "latency_p90_ms", significant),
        Column(
            "train_throughput",
            "Train img/s",
            "train_images_per_s",
            significant,
            "Train img/s: images per second in training (forward, backward, optimizer)",
        ),
        Column(
            "train_latency",
            "Train ms",
            "train_latency_ms",
            significant,
            "Train ms: median of one training step",
        ),
        Column("train_latency_p10", "Train p10", "train_latency_p10_ms", significant),
        Column("train_latency_p90", "Train p90", "train_latency_p90_ms", significant),
        Column("top1", "Top-1", "top1", scaled(1, "", 1), "Top-1: accuracy in percent"),
        *_average_precision("box"),
        *_average_precision("mask"),
        Column("delta_params", "Δ #Params", "delta_num_params", _percent, _BASE),
        Column("delta_flops", "Δ #FLOPs", "delta_macs_modules_only", _percent, _BASE),
        Column("delta_macs", "Δ #MACs", "delta_macs", _percent, _BASE),
        Column("delta_memory", "Δ Memory", "delta_saved_bytes_per_image", _percent, _BASE),
        Column("delta_peak", "Δ Peak", "delta_peak_bytes", _percent, _BASE),
        Column(
            "delta_latency", "Δ ms", "delta_latency_ms", _percent, _BASE + "; of times, paired round by round"
        ),
        Column("delta_train_latency", "Δ Train ms", "delta_train_latency_ms", _percent, _BASE),
        Column("delta_top1", "Δ Top-1", "delta_top1", _points, _BASE + ", in percentage points"),
        Column("delta_box_ap", "Δ AP", "delta_box_ap", _share_points, _BASE + ", in percentage points"),
        Column(
            "delta_mask_ap", "Δ Mask AP", "delta_mask_ap", _share_points, _BASE + ", in percentage points"
        ),
        Column("source", "Source", "source", str, numeric=False),
    )
}
PAPER = ("method", "size", "params", "flops", "memory", "throughput", "top1")
# The paper's tables of detectors: what each is called, and its columns.
DETECTION: dict[str, tuple[str, ...]] = {
    kind: ("method", "params", "flops", *(f"{kind}_{key}" for key in AVERAGES)) for kind in ("box", "mask")
}
# What a profile can have measured, table by table: the columns of each, whose first quantity says whether it was.
SECTIONS: dict[str, tuple[str, ...]] = {
    "Counts, one image": ("params", "flops", "macs", "activations", "delta_params", "delta_macs"),
    "Memory of a training step": ("memory", "delta_memory", "batch", "peak", "delta_peak"),
    "Inference": ("latency", "latency_p10", "latency_p90", "throughput", "delta_latency"),
    "Training step": (
        "train_latency",
        "train_latency_p10",
        "train_latency_p90",
        "train_throughput",
        "delta_train_latency",
    ),
}


def chosen(keys: Sequence[str] | None, frame: pd.DataFrame) -> list[Column]:
    """Return the columns called `keys`, or those of the paper's table.

    Args:
        keys: names of `COLUMNS`; None for the paper's: method, size, parameters, FLOPs, memory, throughput, top-1
            and the difference in top-1, or in MACs where no two accuracies can be compared.
        frame: the rows there are.

    Raises:
        ReportError: all names that do not exist, with the nearest.
    """
    if keys is None:
        return [
            COLUMNS[key]
            for key in (*PAPER, "delta_top1" if frame["delta_top1"].notna().any() else "delta_macs")
        ]
    unknown = [key for key in keys if key not in COLUMNS]
    if unknown:
        tip = f"there are {', '.join(COLUMNS)}"
        raise ReportError(
            [
                Problem("--columns", f"there is no column '{key}'", near(key, COLUMNS) or tip)
                for key in unknown
            ]
        )
    return [COLUMNS[key] for key in keys]


def measured(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Return the tables of `SECTIONS` that `frame` has figures for, each with the keys of its columns that have any."""
    found = {}
    for title, keys in SECTIONS.items():
        known = [key for key in keys if frame[COLUMNS[key].field].notna().any()]
        if keys[0] in known:
            found[title] = ["method", "size", *known]
    return found
