"""Random numbers that depend on where training is, and on nothing that happened before.

Every draw comes from a generator seeded by (the run's seed, what for, and where: epoch and image, or update). So a
run that was killed goes on with exactly the draws it would have made, any number of loader workers gives the same
images, and all variants of a seed see the same order, crops and mixtures whatever their networks drew in between.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# What a seed is for: the first number of a derived seed, so that no two uses share one.
WEIGHTS, ORDER, IMAGE, UPDATE, STREAM = range(5)


def derived_seed(*numbers: int) -> int:
    """Return 63 bits that depend on all `numbers` and their order."""
    digest = hashlib.blake2b(struct.pack(f"<{len(numbers)}q", *numbers), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_cpu(seed: int) -> None:
    """Seed python's, numpy's and torch's CPU generators."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)


def seed_all(seed: int, device: torch.device) -> None:
    """Seed the CPU's generators, and those of the accelerators if `device` is one."""
    seed_cpu(seed)
    # Not torch.manual_seed on a CPU: it takes half a millisecond to note a call for accelerators that are not used.
    if device.type != "cpu":
        torch.manual_seed(seed)


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Put python's, numpy's and torch's CPU generators back as they were."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
