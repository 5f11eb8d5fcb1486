"""Freezing: which parameters change when, and norms that do not drift while their weights stand still."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.problems import SettingsError
from hmhsa_insert.training.run_schema import RunSettings


class Freezer:
    """Keeps the base network as it is for the first epochs, or for good.

    In the first epochs gradients of the base are computed and dropped: parameters cannot stop and start to require one
    once DDP has wrapped the network. Where the base never changes they are not computed at all.

    Args:
        model: the network, not yet wrapped; its parameters' ``requires_grad`` is set.
        settings: how long.
        fresh: names of the new parameters, which always change.

    Raises:
        SettingsError: nothing would change.
    """

    def __init__(self, model: nn.Module, settings: RunSettings, fresh: Collection[str]) -> None:
        self._epochs = settings.finetune.freeze_base_epochs
        self._always = settings.finetune.only_new_blocks
        if self._always and not fresh:
            message = "there are no new parameters: the recipe inserts nothing"
            raise SettingsError(Problem("finetune.only_new_blocks", message))
        if self._always:
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(name in fresh)
        self._fresh = frozenset(fresh)
        owners = {name.rpartition(".")[0] for name in fresh}
        self._norms = [
            module
            for name, module in model.named_modules()
            if isinstance(module, _BatchNorm) and name not in owners
        ]

    def frozen(self, epoch: int) -> bool:
        """Return True if the base stands still in `epoch` (from 0)."""
        return self._always or epoch < self._epochs

    def begin(self, epoch: int) -> None:
        """Call after ``model.train()``: running statistics of a frozen base stand still too."""
        if self.frozen(epoch):
            for norm in self._norms:
                norm.eval()

    def drop_gradients(self, model: nn.Module, epoch: int) -> None:
        """Call between backward and update: the optimizer passes over what has no gradient.

        Args:
            model: the network without DDP's wrapper.
            epoch: from 0.
        """
        if self.frozen(epoch) and not self._always:
            # By name: FSDP puts other parameters in the place of those that were there.
            for name, parameter in model.named_parameters():
                if name not in self._fresh:
                    parameter.grad = None
