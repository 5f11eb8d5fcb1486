"""Models made ready to be run for time or for memory: a copy on a device, and the step to repeat."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from hmhsa_insert.errors import ModelError, Problem
from hmhsa_insert.surgery.base.device import check_device
from hmhsa_insert.surgery.base.inputs import Inputs, InputSize
from hmhsa_insert.torch_private import tree_leaves, tree_map_only

Mode = Literal["inference", "training"]
Timed = Callable[[], None]


@dataclass(frozen=True)
class Setting:
    """Where and how models are run.

    Attributes:
        device: such as ``"cpu"`` or ``"cuda"``.
        dtype: the floating dtype of weights and images; None keeps the model's own.
        channels_last: run on channels-last images and weights.
        compiled: run through `torch.compile`.
    """

    device: str = "cpu"
    dtype: torch.dtype | None = None
    channels_last: bool = False
    compiled: bool = False

    def __post_init__(self) -> None:
        check_device(self.device)


def prepare(model: nn.Module, mode: Mode, input_size: InputSize, batch: int, setting: Setting) -> Timed:
    """Return a function that runs one step of a copy of `model` on random inputs.

    An inference step is a forward pass in eval mode. A training step is a forward pass in train mode, the
    mean square of the output as loss, the backward pass and an AdamW step at learning rate zero: the full
    arithmetic, while the weights stay and every step does the same work.

    Raises:
        ModelError: when the model cannot be copied.
    """
    try:
        copied = copy.deepcopy(model)
    except Exception as error:
        raise ModelError(Problem(type(model).__name__, f"cannot be copied: {error}")) from error
    layout = torch.channels_last if setting.channels_last else torch.preserve_format
    copied = copied.to(device=setting.device, dtype=setting.dtype).to(memory_format=layout)
    copied.train(mode == "training")
    dtype = next((p.dtype for p in copied.parameters() if p.is_floating_point()), torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = Inputs.of(input_size).drawn(dtype, setting.device, batch)
    args, kwargs = tree_map_only(Tensor, lambda tensor: _as_set(tensor, setting), drawn)
    run: Callable[..., object] = torch.compile(copied) if setting.compiled else copied
    forward = partial(run, *args, **kwargs)
    return _inference(forward) if mode == "inference" else _training(forward, copied)


def wait(device: str) -> None:
    """Wait until everything launched on `device` is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _as_set(tensor: Tensor, setting: Setting) -> Tensor:
    """Return an input in the dtype and memory format of a setting."""
    if setting.dtype is not None and tensor.is_floating_point():
        tensor = tensor.to(setting.dtype)
    channels_last = setting.channels_last and tensor.ndim == 4
    return tensor.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def _inference(forward: Callable[[], object]) -> Timed:
    def step() -> None:
        with torch.inference_mode():
            forward()

    return step


def _training(forward: Callable[[], object], copied: nn.Module) -> Timed:
    trainable = [p for p in copied.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=0.0)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        outputs = [leaf for leaf in tree_leaves(forward()) if isinstance(leaf, Tensor) and leaf.requires_grad]
        loss = torch.stack([output.float().square().mean() for output in outputs]).sum()
        torch.autograd.backward(loss)
        optimizer.step()

    return step
