"""The tables that a run leaves in its folder: its last evaluation, image by image, and what each epoch took."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hmhsa_insert.errors import Problem, first_line, listed
from hmhsa_insert.training.problems import RunError

TIMING, PREDICTIONS = "timing.csv", "predictions.csv"


def read_predictions(folder: str | Path) -> pd.DataFrame:
    """Return the last evaluation of a run, image by image; see ``Evaluation.write_predictions``.

    Raises:
        RunError: there is none.
    """
    numbers = ("target", "predicted", "correct", "in_top5", "loss")
    return _read_table(Path(folder) / PREDICTIONS, ("image", *numbers), numbers)


def read_timing(folder: str | Path) -> pd.DataFrame:
    """Return what each epoch of a run took: ``epoch``, ``train_s``, ``eval_images_per_s`` and more.

    Raises:
        RunError: the file is missing or damaged.
    """
    numbers = ("epoch", "train_s", "eval_images_per_s")
    tip = "remove it to go on: only how long finished epochs took is lost"
    return _read_table(Path(folder) / TIMING, numbers, numbers, tip)


def _read_table(
    path: Path,
    columns: Sequence[str],
    numbers: Sequence[str],
    tip: str = "it is written at the end of an epoch",
) -> pd.DataFrame:
    try:
        # As the file has them: a name of an image may read like a number, or like a missing value.
        table = pd.read_csv(path, dtype={"image": str}, keep_default_na=False, na_values={"memory_mib": [""]})
    except (OSError, ValueError) as error:  # pandas' own errors of parsing are ValueErrors
        said = error.strerror if isinstance(error, OSError) else first_line(error)
        raise RunError(Problem(str(path), f"cannot be read: {said}", tip)) from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise RunError(Problem(str(path), f"it is damaged: it has no column {listed(missing)}", tip))
    for name in numbers:
        if not pd.api.types.is_numeric_dtype(table[name]) or not np.isfinite(table[name]).all():
            raise RunError(
                Problem(str(path), f"it is damaged: '{name}' holds something else than numbers", tip)
            )
    return table
