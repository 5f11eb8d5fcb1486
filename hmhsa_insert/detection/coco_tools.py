"""pycocotools, imported where it is needed and kept quiet."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Iterator
from typing import Any

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.problems import DataError


def mask_tools() -> Any:
    """Return ``pycocotools.mask``.

    Raises:
        DataError: it is not installed.
    """
    return coco_module("mask")


def coco_module(name: str) -> Any:
    """Return a module of pycocotools.

    Raises:
        DataError: it is not installed.
    """
    try:
        return importlib.import_module(f"pycocotools.{name}")
    except ImportError as error:
        tip = "pip install 'hmhsa-insert[detection]'"
        raise DataError(Problem("COCO data", "needs the package pycocotools", tip)) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what pycocotools prints from the terminal."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
