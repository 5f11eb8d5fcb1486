"""Weight files of a run: safetensors of the whole network, whatever shares of it the processes hold."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
from accelerate import Accelerator
from torch import nn

from hmhsa_insert.models.weights import utf8_path
from hmhsa_insert.training.loop.checkpoint import write_whole


class Weights:
    """Writes weights by their own keys from any process layout.

    Args:
        accelerator: knows the processes and wrappers.
        model: the network before it is wrapped; copied, as what files are written from.
        folder: of the run.
    """

    def __init__(self, accelerator: Accelerator, model: nn.Module, folder: Path) -> None:
        self._accelerator = accelerator
        self._folder = folder
        self._copy = copy.deepcopy(model).cpu() if accelerator.is_main_process else None

    def write(self, name: str, model: nn.Module) -> None:
        """Write a file of `model`'s weights, wrapped or not; all processes call this together.

        Raises:
            RunError: writing fails.
        """
        state = self._accelerator.get_state_dict(model)
        if self._copy is not None:
            own = self._copy
            own.load_state_dict(state)
            # save_model and not save_file: tied weights are written once and tied again when they are read.
            write_whole(self._folder / name, lambda path: safetensors.torch.save_model(own, str(path)))

    def write_artifact(
        self, name: str, source: str, save: Callable[[nn.Module, Path], Path | None]
    ) -> Path | None:
        """Have `save` write the network with the weights of file `source` as an artifact, or not."""
        if self._copy is None:
            return None
        with utf8_path(self._folder / source) as path:
            safetensors.torch.load_model(self._copy, path)
        return save(self._copy.eval(), self._folder / name)
