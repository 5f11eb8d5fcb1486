"""Libraries of detectors and segmenters: skipped where they are not installed, and kept off the network."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import pytest
import torch

# Before ultralytics is imported, which reads and writes settings.
os.environ.setdefault("YOLO_OFFLINE", "1")
os.environ.setdefault("YOLO_VERBOSE", "False")
os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp(prefix="ultralytics-"))


@pytest.fixture(scope="module")
def recipe_at() -> Any:
    """Return a function that makes a recipe: a small convolutional block, as the identity, at a place."""

    def make(at: dict[str, Any]) -> dict[str, Any]:
        block = {"type": "irb", "expansion": 1, "kernel_size": 3}
        return {
            "version": 1,
            "name": "test",
            "edits": [{"op": "insert", "id": "added", "at": at, "block": block, "init": "identity"}],
        }

    return make


@pytest.fixture(autouse=True, scope="module")
def _seed() -> None:
    torch.manual_seed(0)
