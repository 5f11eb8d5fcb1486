"""Other libraries' trainers and models with edits of ours; each file imports its library when it is imported itself."""

from __future__ import annotations

import importlib
from types import ModuleType

_PARTS = ("ultralytics", "smp")


def __getattr__(name: str) -> ModuleType:
    if name not in _PARTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
