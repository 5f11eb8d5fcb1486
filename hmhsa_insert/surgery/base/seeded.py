"""Seed every random generator that a network may use, and restore them all afterwards.

Layers draw from torch's generator, from Python's ``random`` and numpy's global one, from generators of their own, and
from those of the file that their class is written in.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class _Kind:
    """How one kind of generator is read, restored and seeded."""

    read: Callable[[Any], Any]
    put_back: Callable[[Any, Any], object]
    seed: Callable[[Any, int], object]


def _set_numpy(generator: np.random.Generator, state: Any) -> None:
    generator.bit_generator.state = state


def _seed_numpy(generator: np.random.Generator, seed: int) -> None:
    generator.bit_generator.state = type(generator.bit_generator)(seed).state


_KINDS: dict[type, _Kind] = {
    random.Random: _Kind(random.Random.getstate, random.Random.setstate, random.Random.seed),
    np.random.RandomState: _Kind(
        np.random.RandomState.get_state, np.random.RandomState.set_state, lambda g, s: g.seed(s % 2**32)
    ),
    np.random.Generator: _Kind(lambda g: g.bit_generator.state, _set_numpy, _seed_numpy),
    torch.Generator: _Kind(torch.Generator.get_state, torch.Generator.set_state, torch.Generator.manual_seed),
}


@contextmanager
def seeded(model: nn.Module | None, seed: int) -> Iterator[None]:
    """Seed every generator that `model` may use, and restore each at the end.

    Args:
        model: None for one that is yet to be built: the global generators.
        seed: from 0; of numpy's only the lowest 32 bits.
    """
    devices = [*{p.device for p in model.parameters() if p.is_cuda}] if model is not None else []
    with torch.random.fork_rng(devices=devices), ExitStack() as stack:
        torch.manual_seed(seed)
        for kind, generator in _generators(model):
            stack.callback(kind.put_back, generator, kind.read(generator))
            kind.seed(generator, seed)
        yield


def _generators(model: nn.Module | None) -> Iterator[tuple[_Kind, Any]]:
    """Yield every generator except torch's global ones, with its kind."""
    modules = [] if model is None else list(model.modules())
    files = {cls.__module__ for module in modules for cls in type(module).__mro__}
    spaces = [vars(sys.modules[name]) for name in files if name in sys.modules]
    spaces += [vars(module) for module in modules]
    values = [value for space in spaces for value in list(space.values())]
    own = {
        id(v): v for v in values if isinstance(v, tuple(_KINDS)) and not isinstance(v, random.SystemRandom)
    }
    for generator in (random._inst, np.random.mtrand._rand, *own.values()):
        yield next(kind for cls, kind in _KINDS.items() if isinstance(generator, cls)), generator
