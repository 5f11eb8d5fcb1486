"""Verification under one seed of every generator that a network draws from, each left as it was."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from edits import SIZE, insert, recipe
from torch import Tensor, nn

import hmhsa_insert as hi
from hmhsa_insert.surgery.base.seeded import seeded
from hmhsa_insert.surgery.edit.splice import inserted_modules

OF_THIS_FILE = np.random.default_rng(3)


class Drops(nn.Module):
    """A residual layer that is left out at random in training."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.conv = kind, nn.Conv2d(8, 8, 3, 1, 1)
        self.own_python, self.own_numpy = random.Random(5), np.random.default_rng(5)
        self.own_torch, self.legacy = torch.Generator().manual_seed(5), np.random.RandomState(5)

    def draw(self) -> float:
        draws: dict[str, Any] = {
            "random": random.random,
            "random.gauss": lambda: random.gauss(0.5, 0.3),
            "numpy": np.random.rand,
            "numpy.binomial": lambda: np.random.binomial(1, 0.5),
            "own Random": self.own_python.random,
            "own Generator": self.own_numpy.random,
            "own RandomState": self.legacy.rand,
            "own torch.Generator": lambda: torch.rand((), generator=self.own_torch).item(),
            "generator of the file": OF_THIS_FILE.random,
            "torch": lambda: torch.rand(()).item(),
        }
        return float(draws[self.kind]())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.draw() * torch.relu(self.conv(x)) if self.training else x + torch.relu(self.conv(x))


class Depth(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.layers, self.head = nn.Sequential(*[Drops(kind) for _ in range(4)]), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.stem(x)).mean((2, 3)))


KINDS = [
    *("random", "random.gauss", "numpy", "numpy.binomial", "torch", "generator of the file"),
    *("own Random", "own Generator", "own RandomState", "own torch.Generator"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_randomness_in_training_is_no_failure(kind: str) -> None:
    base = Depth(kind)
    edited = hi.apply(base, recipe(insert({"stride": 2}, {"type": "irb", "expansion": 1})), SIZE)
    base.train()(torch.randn(2, *SIZE))  # generators of its own have moved on
    checks = {check.name: check for check in hi.verify(base, edited)}
    assert all(check.passed for check in checks.values()), checks
    assert checks["train outputs"].value == 0


@pytest.mark.parametrize("kind", ["random", "numpy"])
def test_a_block_that_acts_is_still_seen(kind: str) -> None:
    base = Depth(kind)
    edited = hi.apply(base, recipe(insert({"stride": 2}, {"type": "irb", "expansion": 1})), SIZE)
    for _, module in inserted_modules(edited):
        nn.init.constant_(module.gamma, 0.5)  # type: ignore[arg-type]
    failed = {check.name for check in hi.verify(base, edited) if not check.passed}
    assert {"eval outputs", "train outputs"} <= failed


def test_every_generator_is_left_as_it_was() -> None:
    model = Depth("random")
    first = model.layers[0]

    def draws() -> list[float]:
        own = (first.own_python.random, first.own_numpy.random, first.legacy.rand, OF_THIS_FILE.random)
        shared = (random.random, np.random.rand, lambda: torch.rand(()).item())
        return [*(draw() for draw in (*own, *shared)), torch.rand((), generator=first.own_torch).item()]

    seeds = (random.seed, np.random.seed, torch.manual_seed)
    for seed in seeds:
        seed(1)
    states = OF_THIS_FILE.bit_generator.state
    wanted = draws()
    for seed in seeds:
        seed(1)
    OF_THIS_FILE.bit_generator.state = states
    first.own_python.seed(5)
    first.own_numpy, first.legacy = np.random.default_rng(5), np.random.RandomState(5)
    first.own_torch.manual_seed(5)
    inside = []
    for _ in range(2):
        with seeded(model, 0):
            inside.append(draws())
    assert inside[0] == inside[1]
    assert draws() == wanted


def test_a_generator_without_a_state_is_left_alone() -> None:
    model = Depth("random")
    model.__dict__["unseeded"] = random.SystemRandom()
    with seeded(model, 0):
        assert model(torch.randn(1, *SIZE)).shape == (1, 5)
