"""Results on fake tensors that are known by shapes are those that torch gives; nothing else is taken from memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hmhsa_insert.surgery.locate import known_shapes
from hmhsa_insert.surgery.locate.known_shapes import run_on_shapes
from hmhsa_insert.torch_private import FakeTensorMode

X, WIDE, MAP = (2, 8, 9, 7), (2, 8, 9, 14), torch.channels_last
Case = tuple[Callable[..., Any], list[Any], dict[str, Any]]
CASES: dict[str, Case] = {
    "convolution": (torch.conv2d, [X, (4, 8, 3, 3), (4,), 2, 1], {}),
    "convolution of another stride": (torch.conv2d, [X, (4, 8, 3, 3), (4,), 1, 1], {}),
    "convolution in half precision": (torch.conv2d, [(X, torch.half), ((4, 8, 3, 3), torch.half)], {}),
    "convolution in channels_last": (torch.conv2d, [(X, MAP), ((4, 8, 3, 3), MAP)], {}),
    "linear": (F.linear, [(3, 5, 8), (4, 8)], {}),
    "norm": (F.batch_norm, [X, (8,), (8,), (8,), (8,)], {"training": False}),
    "norm in training": (F.batch_norm, [X, (8,), (8,), (8,), (8,)], {"training": True}),
    "layer norm": (F.layer_norm, [(2, 5, 8), (8,)], {}),
    "activation": (F.relu, [X], {}),
    "activation in place": (F.relu, [X], {"inplace": True}),
    "pool": (F.max_pool2d, [X, 3, 2], {"ceil_mode": True}),
    "pool rounded down": (F.max_pool2d, [X, 3, 2], {"ceil_mode": False}),
    "global pool": (F.adaptive_avg_pool2d, [X, 1], {}),
    "sum": (Tensor.add, [X, (8, 1, 1)], {}),
    "sum in place": (Tensor.add_, [X, (8, 1, 1)], {}),
    "sum with a number": (Tensor.add, [(X, torch.int32), 1], {}),
    "sum with a fraction": (Tensor.add, [(X, torch.int32), 1.0], {}),
    "maps beside each other": (torch.cat, [[X, WIDE], 3], {}),
}


def made(value: Any) -> Any:
    """Return a fake tensor of a size, or of a size and a type or layout; anything else as it is."""
    if isinstance(value, list):
        return [made(item) for item in value]
    if not isinstance(value, tuple):
        return value
    size, how = value if isinstance(value[0], tuple) else (value, torch.float32)
    if how is MAP:
        return torch.empty(size).contiguous(memory_format=MAP)
    return torch.empty(size, dtype=how)


def described(value: Any) -> tuple[Any, ...]:
    return type(value), value.shape, value.stride(), value.dtype, value.device, value.fake_mode


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_shapes, "_known", {})


def _arguments(func: Callable[..., Any], given: list[Any]) -> list[Any]:
    # A size among the arguments of a layer norm is no tensor.
    return [made(given[0]), given[1]] if func is F.layer_norm else [made(each) for each in given]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_second_time_gives_what_the_first_did(case: Case) -> None:
    func, given, kwargs = case
    for _ in range(2):
        mode = FakeTensorMode()  # every trace has one of its own
        with torch.no_grad(), mode:
            first, second = _arguments(func, given), _arguments(func, given)
            wanted = func(*first, **kwargs)
            got = run_on_shapes(func, second, kwargs)
            assert described(got) == described(wanted)
            assert (got is second[0]) == (wanted is first[0])
    assert len(known_shapes._known) == 1


def test_what_differs_in_one_argument_is_not_taken_from_memory() -> None:
    with torch.no_grad(), FakeTensorMode():
        shapes = {
            name: described(run_on_shapes(func, _arguments(func, given), kwargs))[1:4]
            for name, (func, given, kwargs) in CASES.items()
        }
    assert len(known_shapes._known) == len(CASES)
    assert shapes["convolution"][0] == (2, 4, 5, 4)
    assert shapes["convolution of another stride"][0] == (2, 4, 9, 7)
    assert shapes["convolution in half precision"][2] == torch.half
    assert shapes["convolution in channels_last"][1] == (140, 1, 20, 4)
    assert (shapes["pool"][0], shapes["pool rounded down"][0]) == ((2, 8, 4, 3), (2, 8, 4, 3))
    assert (shapes["sum with a number"][2], shapes["sum with a fraction"][2]) == (torch.int32, torch.float32)


@pytest.mark.parametrize(
    ("around", "func"),
    [
        pytest.param(torch.enable_grad, F.relu, id="with gradients"),
        pytest.param(lambda: torch.autocast("cpu"), F.relu, id="under autocast"),
        pytest.param(torch.no_grad, torch.flatten, id="a view"),
        pytest.param(torch.no_grad, torch.rand_like, id="a draw"),
    ],
)
def test_nothing_is_kept(around: Callable[[], Any], func: Callable[..., Any]) -> None:
    with around(), FakeTensorMode():
        run_on_shapes(func, [torch.empty(X)], {})
    assert known_shapes._known == {}


def test_real_tensors_are_computed() -> None:
    with torch.no_grad():
        for value in (-1.0, 2.0):
            assert run_on_shapes(F.relu, [torch.full((3,), value)], {}).tolist() == [max(value, 0.0)] * 3
    assert known_shapes._known == {}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_shapes, "_MOST", 3)
    with torch.no_grad(), FakeTensorMode():
        for side in range(1, 10):
            assert run_on_shapes(F.relu, [torch.empty(side)], {}).shape == (side,)
    assert len(known_shapes._known) <= 3
