"""Copies of module trees are those of copy.deepcopy, whatever a class says about how it is copied."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import fx, nn

from hmhsa_insert.surgery.base.copying import copied


class Holder(nn.Module):
    """Everything that modules keep beside tensors; two names for one list and one child."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.again = self.conv
        self.items = [1, {"a": (1, 2)}, {3, 4}]
        self.same_items = self.items
        self.named = OrderedDict(one=[1], two=nn.Linear(2, 2))
        self.pair = (self.items, "text")
        self.kind = nn.ReLU
        self.activation = torch.relu
        self.this = self
        self.register_buffer("table", torch.arange(3.0), persistent=False)


class SaysHow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.number = 1

    def __deepcopy__(self, memo: dict[int, Any]) -> SaysHow:
        twin = SaysHow()
        memo[id(self)] = twin
        twin.number = self.number + 1
        return twin


class SaysState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cache = [1]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "cache": []}


class SetsState(nn.Module):
    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.restored = True


class Slotted(nn.Module):
    __slots__ = ("kept",)

    def __init__(self) -> None:
        super().__init__()
        self.kept = [1]


class Child(Holder):
    """A plain class below a plain one."""


class BelowSaysHow(SaysHow):
    """A class that says nothing itself."""


def picture(value: Any, seen: dict[int, int] | None = None) -> Any:
    """Return a value as text and numbers: the same for a copy, with the same things in several places."""
    seen = {} if seen is None else seen
    if isinstance(value, torch.Tensor):
        return "tensor", seen.setdefault(id(value), len(seen)), value.tolist(), type(value).__name__
    if isinstance(value, nn.Module | dict | list | set | tuple):
        known = id(value) in seen
        name = type(value).__name__, seen.setdefault(id(value), len(seen))
        if known:
            return name
        if isinstance(value, set):
            return name, sorted(map(repr, value))
        inside = vars(value) if isinstance(value, nn.Module) else value
        items = inside.items() if isinstance(inside, dict) else enumerate(inside)
        return name, [(str(key), picture(item, seen)) for key, item in items]
    return type(value).__name__, repr(value) if isinstance(value, int | float | str | bool) else ""


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "plain": Holder,
    "below a plain one": Child,
    "with __deepcopy__": lambda: nn.Sequential(SaysHow(), nn.ReLU()),
    "below one with __deepcopy__": lambda: nn.Sequential(BelowSaysHow()),
    "with __getstate__": lambda: nn.Sequential(SaysState()),
    "with __setstate__": lambda: nn.Sequential(SetsState()),
    "with slots": lambda: nn.Sequential(Slotted()),
    "traced": lambda: nn.Sequential(fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))),
    "with a norm of its weight": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
    "a network": lambda: timm.create_model("test_vit2"),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_copies_are_those_of_deepcopy(make: Callable[[], nn.Module]) -> None:
    model = make()
    wanted, got = copy.deepcopy(model), copied(model, {})
    assert picture(got) == picture(wanted)
    before = picture(model)
    for parameter in got.parameters():
        parameter.data.fill_(7.0)
    for module in got.modules():
        vars(module)["extra"] = 1
    assert picture(model) == before


def test_what_a_class_says_is_done() -> None:
    assert copied(SaysHow(), {}).number == 2
    assert copied(BelowSaysHow(), {}).number == 2
    assert copied(SaysState(), {}).cache == []
    assert copied(SetsState(), {}).restored


def test_what_is_in_the_memo_is_taken() -> None:
    model, other = Holder(), nn.Conv2d(3, 3, 3)
    twin = copied(model, {id(model.conv): other})
    assert twin.conv is other
    assert twin.again is other
    assert twin.this is twin
    assert twin.pair[0] is twin.items is twin.same_items
