"""Every number that is measured, once, as a row: tables, plots, CSV, JSON, studies and commands read it.

A new one is a row of `QUANTITIES`; one that is counted is a row of ``COUNTERS`` in ``costs/counters.py`` as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from hmhsa_insert.quantity import (
    COUNT,
    INFERENCE,
    MEMORY,
    NUMBER,
    PERCENT,
    SCORES,
    SHARE,
    TRAINING,
    Layout,
    Quantity,
    counted,
    fixed,
    in_bytes,
    millions,
    significant,
)

# Columns of tables and data that are no quantity: a score that has such a name gets another.
RESERVED = (
    *("method", "group", "size", "height", "width", "pixels", "part", "all"),
    *("data", "published", "source", "measured_on"),
)


def _averages(kind: Literal["box", "mask"], plural: str) -> Iterator[Quantity]:
    """Yield COCO's averages, by their names in a record."""
    for name in ("AP", "AP50", "AP75", "APs", "APm", "APl"):
        # No two heads of a table may be alike, and six of them have to fit 80 characters.
        header = name if kind == "box" else f"Mask {name if name == 'AP' else name.removeprefix('AP')}"
        yield Quantity(
            f"{kind}_{name.lower()}",
            header,
            path=(kind, name),
            name="average precision",
            kind=SHARE,
            unit=0.01,
            digits=1,
            better="more",
            delta="absolute" if name == "AP" else "",
            note=f"AP of {plural}: COCO's average precision in percent, over IoU 0.5 to 0.95; AP50 and AP75 at one; "
            "APs, APm, APl of small, medium and large objects",
            study_note=f"{header}: COCO's average precision of {plural} in percent",
            runs="AP" if name == "AP" else "",
            line=f"{kind} {name} {{:.3f}}" if name in ("AP", "AP50") else "",
            section=SCORES,
        )


# Each row as a paragraph, the first line its names; the formatter would give every argument a line.
# fmt: off
_ROWS = (
    Quantity("params", "#Params", "num_params", name="parameters",
        kind=COUNT, unit=1e6, write=millions, write_small=counted, delta="relative", parts="table"),
    Quantity("num_trainable", kind=COUNT, better="", study=""),
    Quantity("layer_macs", "Layer MACs", "macs_modules_only", axis="{}MACs of convolution and linear layers",
        kind=COUNT, unit=1e9, write=counted, write_published=fixed(1e9, "G", 1), delta="relative",
        note="Layer MACs: multiply–accumulates of convolution and linear layers with bias, one image; papers "
        "print this number under FLOPs",
        layout=Layout(data=1, delta="column"), parts="data", study="data"),
    Quantity("macs", "#MACs", name="MACs", axis="{}MACs, attention included",
        kind=COUNT, unit=1e9, write=counted, delta="relative",
        note="#MACs: multiply–accumulates of convolutions and matrix products, those of attention included, one image",
        grows=True, parts="table"),
    Quantity("activations", "#Acts", name="activations",
        kind=COUNT, unit=1e6, suffix="M", digits=1, delta="relative", note="#Acts: outputs of those products",
        layout=Layout(data=1, delta="data"), parts="data", study=""),

    Quantity("memory", "Memory", "saved_bytes_per_image", ("memory", "saved_bytes_per_image"),
        unit=2**20, write=in_bytes, delta="relative", axis="Saved for backward ({}B per image)",
        note="Memory: saved for the backward pass of training, per image",
        section=MEMORY, grows=True, parts="table", study_field="memory_bytes"),
    Quantity("batch", "Batch", "largest_batch", ("memory", "largest_batch"),
        kind=COUNT, digits=0, better="more", section=MEMORY, layout=Layout(section=1)),
    Quantity("device_gib", better="", section=MEMORY),
    Quantity("peak", "Peak", "peak_bytes", ("memory", "peak", "allocated"),
        kind=COUNT, unit=2**20, write=in_bytes, delta="relative",
        note="Peak: most allocated on the device in one training step", section=MEMORY, layout=Layout(section=1)),

    Quantity("latency", "ms", "latency_ms", ("inference", "latency_ms"),
        write=significant, delta="relative", ratio="time_ratio",
        note="ms: median milliseconds of one inference step", delta_note="; of times, paired round by round",
        section=INFERENCE, grows=True),
    Quantity("latency_p10", "p10 ms", "latency_p10_ms", ("inference", "p10_ms"),
        write=significant, section=INFERENCE),
    Quantity("latency_p90", "p90 ms", "latency_p90_ms", ("inference", "p90_ms"),
        write=significant, section=INFERENCE),
    Quantity("throughput", "Img/s", "images_per_s", ("inference", "images_per_s"),
        write=significant, better="more", note="Img/s: images per second in inference",
        section=INFERENCE, layout=Layout(columns=-1)),
    Quantity("time_ratio", path=("inference", "time_ratio"), section=INFERENCE),

    Quantity("train_latency", "Train ms", "train_latency_ms", ("training", "latency_ms"),
        write=significant, delta="relative", ratio="train_time_ratio",
        note="Train ms: median of one training step", section=TRAINING),
    Quantity("train_latency_p10", "Train p10", "train_latency_p10_ms", ("training", "p10_ms"),
        write=significant, section=TRAINING),
    Quantity("train_latency_p90", "Train p90", "train_latency_p90_ms", ("training", "p90_ms"),
        write=significant, section=TRAINING),
    Quantity("train_throughput", "Train img/s", "train_images_per_s", ("training", "images_per_s"),
        write=significant, better="more",
        note="Train img/s: images per second in training (forward, backward, optimizer)",
        section=TRAINING, layout=Layout(columns=-1)),
    Quantity("train_time_ratio", path=("training", "time_ratio"), section=TRAINING),

    Quantity("top1", "Top-1", name="accuracy", axis="Top-1 (%)",
        kind=PERCENT, digits=1, better="more", delta="absolute", note="Top-1: accuracy in percent",
        study_note="Top-1: percent of validation images", runs="Top-1", line="top-1 {:.2f} %", section=SCORES),
    Quantity("miou", "mIoU", name="mean IoU", axis="mIoU (%)",
        kind=SHARE, unit=0.01, digits=1, better="more", delta="absolute",
        note="mIoU: intersection over union in percent, mean over the classes, counted over all pixels of the set",
        study_note="mIoU: mean over the classes, in percent", runs="mIoU", line="mIoU {:.3f}", section=SCORES),
    Quantity("mdice", "Dice", name="mean Dice",
        kind=SHARE, unit=0.01, digits=1, better="more",
        note="Dice: in percent, mean over the classes, counted over all pixels of the set",
        line="Dice {:.3f}", section=SCORES),
    Quantity("pixel_accuracy", "Pixels", name="pixel accuracy",
        kind=SHARE, unit=0.01, digits=1, better="more",
        note="Pixels: percent of the labelled pixels whose class was found", line="pixels {:.3f}", section=SCORES),
    *_averages("box", "boxes"),
    *_averages("mask", "masks"),
)
# fmt: on

# By their keys. The order of the rows is that of the tables of a profile.
QUANTITIES: dict[str, Quantity] = {quantity.key: quantity for quantity in _ROWS}


def ordered(rank: Literal["section", "columns", "data"]) -> list[Quantity]:
    """Return all quantities, section by section, as one of the ranks of their layouts has them."""
    sections = list(dict.fromkeys(each.section for each in QUANTITIES.values()))
    return sorted(
        QUANTITIES.values(), key=lambda each: (sections.index(each.section), getattr(each.layout, rank))
    )


def by_field() -> dict[str, Quantity]:
    """Return all quantities by the names of their fields, in the order of CSV and JSON."""
    return {each.field: each for each in ordered("data")}


def score(name: str) -> Quantity:
    """Return the score that a task calls `name`: a row of the table, or what is assumed of one without a row."""
    known = QUANTITIES.get(name)
    if known is not None and known.section == SCORES:
        return known
    is_taken = name in {*RESERVED, *QUANTITIES, *by_field()} or name.startswith(("delta_", "score_"))
    return other_score(f"score_{name}" if is_taken else name, name)


def line(name: str, value: float) -> str:
    """Return how a line of a log writes the score `name`; empty where such lines leave it out."""
    known = QUANTITIES.get(name.lower())
    return known.line.format(value) if known is not None else f"{name} {value:.4g}"


def other_score(key: str, name: str = "") -> Quantity:
    """Return what is assumed of a score without a row: more is better, and differences are in its own unit.

    Args:
        key: of its column.
        name: in a record; by default the key.
    """
    return Quantity(
        key,
        key,
        path=("scores", name or key),
        name=key,
        kind=NUMBER,
        better="more",
        delta="absolute",
        runs="Scores",
        section=SCORES,
    )
