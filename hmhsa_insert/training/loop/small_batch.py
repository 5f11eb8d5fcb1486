"""Batches of one image: refused before the run where a layer computes statistics over a batch and has nothing to."""

from __future__ import annotations

import copy

import torch
from torch import nn

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.loop.seeding import kept_random_state
from hmhsa_insert.training.problems import SettingsError

_NEEDS_TWO = "Expected more than 1"  # torch's words, of batch norms and instance norms
_TIP = (
    "a larger batch_size, fewer accumulated batches or processes, larger images, or another norm there "
    "(finetune.only_new_blocks=true leaves the base network's norms as they are)"
)


def check_one_image(model: nn.Module, size: tuple[int, ...]) -> None:
    """Run a copy of a network, each module in the mode it is in, on one image of `size` (C, H, W).

    Raises:
        SettingsError: a layer needs two images; with its name.
    """
    probe = copy.deepcopy(model).cpu()
    entered = [""]
    for name, module in probe.named_modules():
        module.register_forward_pre_hook(lambda _module, _inputs, name=name: entered.append(name))
    try:
        with torch.no_grad(), kept_random_state():
            probe(torch.zeros(1, *size))
    except ValueError as error:
        if _NEEDS_TWO in str(error):
            layer = type(probe.get_submodule(entered[-1])).__name__
            message = f"one image in a forward, and {entered[-1]} ({layer}) needs two: its map has one pixel"
            raise SettingsError(Problem("batch_size", message, _TIP)) from error
    except Exception:
        return  # no matter of the batch: training says it where it happens
