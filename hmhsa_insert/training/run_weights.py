"""The weights in a run's folder: which file, whether it fits a network, loaded into it."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from hmhsa_insert.errors import Problem, WeightsError, first_line
from hmhsa_insert.models.weights import misfits, read_shapes, shapes_in, utf8_path
from hmhsa_insert.training.problems import RunError
from hmhsa_insert.training.run_folder import BEST, EMA, LAST

WEIGHTS = {"best": BEST, "last": LAST, "ema": EMA}


def weights_file(folder: Path, weights: str) -> Path:
    """Return the file of a run's weights: best, last or ema.

    Raises:
        RunError: there is no such file.
    """
    path = folder / WEIGHTS[weights]
    if path.is_file():
        return path
    there = [name for name, file in WEIGHTS.items() if (folder / file).is_file()]
    raise RunError(
        Problem(str(path), "there is no such file", f"this run has: {', '.join(there) or 'none yet'}")
    )


def check_weights(model: nn.Module, path: Path) -> None:
    """Compare a network, which may have no weights yet, with the shapes in a weight file.

    Raises:
        WeightsError: the file cannot be read, or does not fit: the first keys of each kind.
    """
    state = {key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)}
    if problems := misfits(shapes_in(state), read_shapes(path), str(path)):
        raise WeightsError(problems)


def fill(model: nn.Module, path: Path) -> None:
    """Load a weight file of a run into the network it was written from.

    Raises:
        WeightsError: it cannot be read, or does not fit.
    """
    check_weights(model, path)
    try:
        with utf8_path(path) as name:
            safetensors.torch.load_model(model, name)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise WeightsError(Problem(str(path), f"does not fit the run: {first_line(error)}")) from error
