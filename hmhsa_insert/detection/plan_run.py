"""Plan the run of a detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from torch import nn

from hmhsa_insert.training.planned import plan_run


def plan_detection(
    model: str | Path | nn.Module, data: Any, *, task: Literal["detect", "segment"] = "detect", **options: Any
) -> Any:
    """Return the run of a detector on the backbone `model`; see :func:`~hmhsa_insert.training.planned.plan_run`."""
    return plan_run(model, data, task=task, **options)
