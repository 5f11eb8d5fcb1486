"""Heads and stems: what a network has, and weights carried over to one with other classes or channels."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from timm.models import adapt_input_conv
from torch import nn

from hmhsa_insert.costs.fake import fake_copy
from hmhsa_insert.errors import ModelError, Problem, first_line
from hmhsa_insert.surgery.edit.splice import inserted_modules
from hmhsa_insert.training.problems import NetworkError


def input_channels(model: nn.Module) -> int:
    """Return the channels of the images that a network takes: those of its first convolution."""
    convolution = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    return convolution.in_channels if convolution is not None else 3


def head_names(model: nn.Module) -> tuple[str, ...]:
    """Return the qualified names of the layers that give the scores."""
    config: Any = getattr(model, "pretrained_cfg", None) or {}
    named = config.get("classifier")
    if named:
        return (named,) if isinstance(named, str) else tuple(named)
    inserted = tuple(key for key, _ in inserted_modules(model))
    linear = [
        name
        for name, m in model.named_modules()
        if isinstance(m, nn.Linear) and not name.startswith(inserted)
    ]
    return tuple(linear[-1:])


def check_outputs(model: nn.Module, channels: int, side: int, num_classes: int) -> None:
    """Run one empty image through the network and look at what comes out.

    Raises:
        NetworkError: anything but N×num_classes.
    """
    training = model.training
    try:
        scores = _scores(model.eval(), channels, side)
    except Exception as error:  # a network refuses an image in any way it likes: timm's assert their size
        message = f"an image of {channels}×{side}×{side} does not run: {first_line(error)}"
        raise NetworkError(Problem(type(model).__name__, message, "another size: `input_size=N`")) from error
    finally:
        model.train(training)
    shape = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
    if shape != (1, num_classes):
        message = f"gives {shape} for one image, and the data has {num_classes} classes"
        tip = "a factory that takes num_classes is given the right one"
        raise NetworkError(Problem(type(model).__name__, message, tip))


def _scores(model: nn.Module, channels: int, side: int) -> Any:
    """Return what a network gives for one empty image; one on the meta device is run without its weights."""
    parameter = next(model.parameters())
    mode: AbstractContextManager[object] = nullcontext()
    device = parameter.device
    if parameter.is_meta:
        (model, mode), device = fake_copy(model), torch.device("cpu")
    with torch.no_grad(), mode:
        return model(torch.zeros(1, channels, side, side, dtype=parameter.dtype, device=device))


def stem_key(model: nn.Module) -> str:
    """Return the key of the first convolution's weight."""
    found = next((name for name, m in model.named_modules() if isinstance(m, nn.Conv2d)), "")
    return f"{found}.weight"


def transfer(given: nn.Module, base: nn.Module) -> tuple[set[str], list[str]]:
    """Copy weights into `base`, all but a head of other classes; return what stays new, and notes.

    Raises:
        ModelError: something else than head and stem differs.
    """
    source, state, new, notes = given.state_dict(), base.state_dict(), set(), []
    heads, stem = head_names(base), stem_key(base)
    for key, tensor in state.items():
        old = source[key]
        if old.shape == tensor.shape:
            tensor.copy_(old)
        elif key.rpartition(".")[0] in heads:
            new.add(key)
        elif key == stem and _other_channels_alone(old, tensor):
            tensor.copy_(adapt_input_conv(tensor.shape[1], old))
            notes.append(f"stem: {old.shape[1]} channels of the weights folded into {tensor.shape[1]}")
        else:
            message = f"{key} is {tuple(old.shape)} in the weights and {tuple(tensor.shape)} here"
            raise ModelError(Problem(type(base).__name__, message))
    if new:
        notes.append(f"head: {', '.join(sorted(new))} are reinitialized: the weights are for other classes")
    return new, notes


def _other_channels_alone(old: torch.Tensor, new: torch.Tensor) -> bool:
    """Return True if two kernels differ in their input channels only, and the old one takes color images."""
    same = old.ndim == new.ndim == 4 and old.shape[0] == new.shape[0] and old.shape[2:] == new.shape[2:]
    return same and old.shape[1] == 3
