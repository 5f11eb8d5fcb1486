"""The most memory that running a network takes, said before it is taken; and how much the machine has."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hmhsa_insert.costs.fake import fake_copy, home
from hmhsa_insert.surgery.base.inputs import Inputs, InputSize
from hmhsa_insert.surgery.edit.splice import inserted_modules
from hmhsa_insert.torch_private import TorchDispatchMode, tree_leaves, unlogged

# Bytes; what takes less is no one's concern.
WORTH_SAYING = 2**30
# Workspaces of convolutions and gradients of maps, which no tensor of the run shows: 1.12 to 1.34 times the storages
# were measured on ResNet-18, ResNet-50 and ConvNeXt-T at 384 to 1024 pixels.
_WORKSPACE = 4 / 3
_MEMINFO, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def verification_peak(model: nn.Module, inputs: InputSize) -> int | None:
    """Return the bytes that verifying an edited model takes at most beside the model and its base network.

    Verification runs copies of both, without gradients and then with those of inserted blocks alone; the run with
    them is made here on fake tensors, and every storage counted while it lives.

    Args:
        model: an edited model; untouched.
        inputs: what goes in.

    Returns:
        The bytes; None where the forward reads values, and only a run could show it.
    """
    hollow, mode = fake_copy(model)
    hollow.train().requires_grad_(False)
    for _, inserted in inserted_modules(hollow):
        inserted.requires_grad_(True)
    weights: int = sum(tensor.nbytes for tensor in (*hollow.parameters(), *hollow.buffers()))
    try:
        with unlogged(), torch.random.fork_rng(), torch.enable_grad(), mode, _Live() as live:
            args, kwargs = Inputs.of(inputs).empty(*home(hollow))
            hollow(*args, **kwargs)
    except Exception:  # as training_memory, which computes then: here that is what is to be avoided
        return None
    most: int = live.most
    return round(_WORKSPACE * (2 * weights + most))


def free_memory() -> int | None:
    """Return the bytes that this process may still take, of the machine or of its container; None where unknown."""
    found = [free for free in (_machine(), _container()) if free is not None]
    return min(found, default=None)


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that are alive, and keeps the most there was."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = self._now = 0
        self._holders: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._hold(tensor)
        return made

    def _hold(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._holders:
            self._now += size
            self.most = max(self.most, self._now)
        self._holders[key] = self._holders.get(key, 0) + 1
        weakref.finalize(tensor, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._holders[key] -= 1
        if not self._holders[key]:
            del self._holders[key]
            self._now -= size


def _machine() -> int | None:
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None


def _container() -> int | None:
    """Return what is left of the limit of this process's control group."""
    try:
        most = int((_CGROUP / "memory.max").read_text(encoding="ascii"))  # "max" where there is none
        return most - int((_CGROUP / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
