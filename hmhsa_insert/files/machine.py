"""The machine and the launcher that this process runs under."""

from __future__ import annotations

import os


def cores() -> int:
    """Return how many logical processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_first_process() -> bool:
    """Return False if a launcher (torchrun, accelerate) started this process and it is not the first."""
    return int(os.environ.get("RANK", "0")) == 0
