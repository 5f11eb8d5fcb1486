"""Repeat the paper's claim that SiLU takes less memory than GELU: ``python benchmarks/silu_memory.py``.

Writes ``reports/silu_memory.md`` and ``.csv``. What a training step saves for backward is counted on fake tensors, so
any machine gives the same bytes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from textwrap import fill
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from hmhsa_insert.costs.environment import environment
from hmhsa_insert.costs.memory import training_memory
from hmhsa_insert.reports.markdown import to_markdown
from hmhsa_insert.reports.table import Header, Table, TableCell, TableRow
from hmhsa_insert.surgery.apply import apply
from hmhsa_insert.surgery.artifact.artifact import open_model

REPORTS = Path(__file__).parents[1] / "reports"
SIDES = (224, 256)
BATCH = 128
PUBLISHED = {"SiLU": 20.2, "GELU": 23.8}

INTRODUCTION = """
The paper's ablation says so: {published[SiLU]} GB against {published[GELU]} GB of GPU memory at batch {batch},
{ratio_published:.2f} times as much. Here is what a training step of TransCNN-Small keeps for the backward pass,
counted storage by storage.
"""
CONCLUSION = """
**Conclusion.** With the two functions as torch has them, no: every byte is the same, because both keep their input and
nothing else; computing in place changes nothing. With both written out as elementary operations, yes: GELU keeps
{ratio_written:.2f} times as much as SiLU, since x·Φ(x) has more intermediate results than x·σ(x). That ratio is close
to the published one, and in mixed precision at 224 pixels so are the figures ({mixed[SiLU]:.1f} and {mixed[GELU]:.1f}
GB). Unfused activations would thus explain the published difference; but which ones the authors ran is not recorded,
their network is not exactly this one, and a GPU's peak holds more than what is saved: it is a possible explanation and
no more. On the torch named below, SiLU instead of GELU (`recipes/silu.yaml`) saves no memory; recomputing blocks does.
"""
ORIGIN = """
Made by `python benchmarks/silu_memory.py` on {machine}. The bytes are counted on fake tensors: they depend on the
version of torch, not on the machine. The peak of a real GPU, which adds workspaces and the gradients of activations,
was not measured.
"""


class WrittenSiLU(nn.Module):
    """x·σ(x) by elementary operations, each of which keeps what its own backward needs."""

    def forward(self, x: Tensor) -> Tensor:
        """Return SiLU of `x`."""
        return x * torch.sigmoid(x)


class WrittenGELU(nn.Module):
    """x·Φ(x) by elementary operations."""

    def forward(self, x: Tensor) -> Tensor:
        """Return GELU of `x`."""
        return 0.5 * x * (1 + torch.erf(x / 2**0.5))


def with_activation(model: nn.Module, make: Callable[[], nn.Module]) -> nn.Module:
    changed = copy.deepcopy(model)
    for name, module in list(changed.named_modules()):
        if isinstance(module, nn.SiLU):
            parent, _, child = name.rpartition(".")
            setattr(changed.get_submodule(parent), child, make())
    return changed


def recomputed(model: nn.Module) -> nn.Module:
    changed: Any = copy.deepcopy(model)
    changed.set_grad_checkpointing(True)
    return changed


def variants() -> dict[tuple[str, str], nn.Module]:
    """Return TransCNN-Small by (activation, how it is computed)."""
    silu = open_model("transcnn_small", meta=True).model
    gelu = apply(silu, "gelu")
    return {
        ("SiLU", "torch"): silu,
        ("GELU", "torch"): gelu,
        ("SiLU", "torch, in place"): with_activation(silu, lambda: nn.SiLU(inplace=True)),
        ("SiLU", "elementary operations"): with_activation(silu, WrittenSiLU),
        ("GELU", "elementary operations"): with_activation(silu, WrittenGELU),
        ("SiLU", "torch, blocks recomputed"): recomputed(silu),
        ("GELU", "torch, blocks recomputed"): recomputed(gelu),
    }


def measure() -> pd.DataFrame:
    """Return a row for every variant and image size."""
    rows = []
    for (activation, how), model in variants().items():
        for side in SIDES:
            full, half = (training_memory(model, (3, side, side), dtype=d) for d in (None, torch.float16))
            # In mixed precision activations are halved; weights, gradients and AdamW's state stay float32.
            state = full.param_bytes + full.buffer_bytes + 3 * full.trainable_bytes
            rows.append(
                {
                    "activation": activation,
                    "computed_by": how,
                    "side": side,
                    "saved_bytes_per_image": int(full.saved_bytes_per_image),
                    "step_bytes_float32": int(BATCH * full.saved_bytes_per_image) + state,
                    "step_bytes_mixed": int(BATCH * half.saved_bytes_per_image) + state,
                }
            )
    return pd.DataFrame(rows)


def as_table(frame: pd.DataFrame) -> Table:
    texts = ("Activation", "Computed by", "Size", "Saved MiB", "float32 GB", "mixed GB", "published GB")
    blank = TableCell("", None)
    rows = [
        TableRow(
            (
                TableCell(name, name),
                TableCell("the paper's network", ""),
                *[blank] * 4,
                TableCell(str(size), size),
            ),
            "",
        )
        for name, size in PUBLISHED.items()
    ]
    for name, how, side, saved, *steps in frame.itertuples(index=False):
        sizes = (TableCell(f"{value / 1e9:.1f}", value) for value in steps)
        words = (TableCell(name, name), TableCell(how, how), TableCell(str(side), side))
        rows.append(TableRow((*words, TableCell(f"{saved / 2**20:.1f}", saved), *sizes, blank), ""))
    notes = (
        "Saved: for the backward pass, per image, in float32 (MiB: 2²⁰ bytes)",
        f"float32, mixed: what is saved at batch {BATCH}, with weights, gradients and AdamW's state "
        "(GB: 10⁹ bytes); mixed: in float16, the state in float32",
    )
    return Table("", tuple(Header(text, place > 1) for place, text in enumerate(texts)), tuple(rows), notes)


def as_text(frame: pd.DataFrame) -> str:
    written = frame[(frame["computed_by"] == "elementary operations") & (frame["side"] == 224)]
    by_name = written.set_index("activation")
    saved = by_name["saved_bytes_per_image"]
    here = environment()
    versions = here.software("python", "torch", "timm")
    values = {
        "published": PUBLISHED,
        "batch": BATCH,
        "ratio_published": PUBLISHED["GELU"] / PUBLISHED["SiLU"],
        "ratio_written": saved["GELU"] / saved["SiLU"],
        "mixed": by_name["step_bytes_mixed"] / 1e9,
        "machine": f"{here.system}, {here.cpu}, {here.cores} cores; {versions}",
    }
    introduction, conclusion, origin = (
        fill(" ".join(part.format(**values).split()), 120) for part in (INTRODUCTION, CONCLUSION, ORIGIN)
    )
    title = "# Does SiLU take less memory than GELU?"
    return "\n\n".join([title, introduction, to_markdown(as_table(frame)).strip(), conclusion, origin]) + "\n"


if __name__ == "__main__":
    measured = measure()
    (REPORTS / "silu_memory.csv").write_text(measured.to_csv(index=False, lineterminator="\n"))
    (REPORTS / "silu_memory.md").write_text(as_text(measured), encoding="utf-8")
