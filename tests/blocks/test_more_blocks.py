"""The blocks of ``examples/more_blocks`` against plain loops, and the package as installed."""

from __future__ import annotations

import math
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import hmhsa_insert as hi
from hmhsa_insert.blocks.from_class import block_of
from hmhsa_insert.blocks.table import BLOCKS

PACKAGE = Path(__file__).parents[2] / "examples" / "more_blocks"
PROJECT = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENTRIES: dict[str, str] = PROJECT["entry-points"]["hmhsa_insert.blocks"]


@pytest.fixture(scope="module", autouse=True)
def _found() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PACKAGE))
        yield
    for name in [name for name in sys.modules if name.split(".")[0] == "more_blocks"]:
        del sys.modules[name]


def made(name: str, channels: int, **options: Any) -> nn.Module:
    """Return a block in double precision, every parameter and statistic of it random."""
    module, _, cls = ENTRIES[name].partition(":")
    torch.manual_seed(3)
    block: nn.Module = getattr(import_module(module), cls)(channels, **options).double().eval()
    for key, tensor in block.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(
                torch.rand_like(tensor) + 0.5 if key.endswith("var") else 0.5 * torch.randn_like(tensor)
            )
    return block


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


def conv(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """Return a convolution by its definition; x is C×H×W, and the stride 1."""
    (tall, wide), (top, left), (down, along) = layer.kernel_size, layer.padding, layer.dilation
    each = x.shape[0] // layer.groups
    out = torch.zeros(layer.out_channels, x.shape[1], x.shape[2], dtype=x.dtype)
    for o in range(layer.out_channels):
        first = o // (layer.out_channels // layer.groups) * each
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                total = float(layer.bias[o]) if layer.bias is not None else 0.0
                for c in range(each):
                    for a in range(tall):
                        for b in range(wide):
                            row, column = i + a * down - top, j + b * along - left
                            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                                total += float(layer.weight[o, c, a, b] * x[first + c, row, column])
                out[o, i, j] = total
    return out


def batch_norm(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    out = x.clone()
    for c in range(len(x)):
        scale = float(norm.weight[c] / (norm.running_var[c] + norm.eps).sqrt())
        out[c] = (x[c] - norm.running_mean[c]) * scale + norm.bias[c]
    return out


def group_norm(x: Tensor, norm: nn.GroupNorm) -> Tensor:
    out, each = x.clone(), len(x) // norm.num_groups
    for g in range(norm.num_groups):
        part = x[g * each : (g + 1) * each]
        out[g * each : (g + 1) * each] = (part - part.mean()) / (part.var(unbiased=False) + norm.eps).sqrt()
    return out * norm.weight[:, None, None] + norm.bias[:, None, None]


def positions(x: Tensor) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(x.shape[1]) for j in range(x.shape[2]))


def simam(block: Any, x: Tensor) -> Tensor:
    out = x.clone()
    for c in range(len(x)):
        mean = sum(float(x[c, i, j]) for i, j in positions(x)) / (x.shape[1] * x.shape[2])
        squares = sum((float(x[c, i, j]) - mean) ** 2 for i, j in positions(x))
        variance = squares / (x.shape[1] * x.shape[2] - 1)
        for i, j in positions(x):
            t, lam = float(x[c, i, j]), block.regularization
            energy = 4 * (variance + lam) / ((t - mean) ** 2 + 2 * variance + 2 * lam)
            out[c, i, j] = t * sigmoid(1 / energy)
    return out


def ema(block: Any, x: Tensor) -> Tensor:
    each, out = len(x) // block.groups, x.clone()
    for g in range(block.groups):
        part = x[g * each : (g + 1) * each]
        gated = part.clone()
        weight, bias = block.along.weight[:, :, 0, 0], block.along.bias
        for o in range(each):
            for i, j in positions(part):
                row = sum(float(weight[o, c] * part[c, i].mean()) for c in range(each)) + float(bias[o])
                column = sum(float(weight[o, c] * part[c, :, j].mean()) for c in range(each)) + float(bias[o])
                gated[o, i, j] = part[o, i, j] * sigmoid(row) * sigmoid(column)
        one, three = group_norm(gated, block.norm), conv(part, block.local)
        by_one = softmax([float(one[c].mean()) for c in range(each)])
        by_three = softmax([float(three[c].mean()) for c in range(each)])
        for i, j in positions(part):
            pairs = range(each)
            weighted = sum(
                by_one[c] * float(three[c, i, j]) + by_three[c] * float(one[c, i, j]) for c in pairs
            )
            out[g * each : (g + 1) * each, i, j] = part[:, i, j] * sigmoid(weighted)
    return out


def gam(block: Any, x: Tensor) -> Tensor:
    first, _, second = block.channel
    gated = x.clone()
    for i, j in positions(x):
        hidden = [
            max(float(first.weight[h] @ x[:, i, j] + first.bias[h]), 0) for h in range(len(first.weight))
        ]
        for c in range(len(x)):
            value = sum(float(second.weight[c, h]) * hidden[h] for h in range(len(hidden))) + float(
                second.bias[c]
            )
            gated[c, i, j] = x[c, i, j] * sigmoid(value)
    narrow, norm, _, widen, last = block.spatial
    hidden_map = batch_norm(conv(gated, narrow), norm).clamp(min=0)
    gate = batch_norm(conv(hidden_map, widen), last)
    return torch.stack(
        [
            gated[c] * torch.tensor([[sigmoid(float(v)) for v in row] for row in gate[c]], dtype=x.dtype)
            for c in range(len(x))
        ]
    )


def triplet(block: Any, x: Tensor) -> Tensor:
    total = torch.zeros_like(x)
    for part, axes in (
        (block.over_rows, (1, 0, 2)),
        (block.over_columns, (2, 1, 0)),
        (block.over_channels, (0, 1, 2)),
    ):
        turned = x.permute(axes)  # each of these swaps two axes, and is its own inverse
        pooled = torch.zeros(2, *turned.shape[1:], dtype=x.dtype)
        for i, j in positions(turned):
            values = [float(value) for value in turned[:, i, j]]
            pooled[0, i, j], pooled[1, i, j] = max(values), sum(values) / len(values)
        gate = batch_norm(conv(pooled, part.conv), part.norm)[0]
        gated = turned.clone()
        for i, j in positions(turned):
            gated[:, i, j] = turned[:, i, j] * sigmoid(float(gate[i, j]))
        total += gated.permute(axes)
    return total / 3


def lska(block: Any, x: Tensor) -> Tensor:
    gate = x
    for layer in (*block.near, *block.far, block.point):
        gate = conv(gate, layer)
    return gate * x


def irmb(block: Any, x: Tensor) -> Tensor:
    normed = group_norm(x, block.norm)
    both, value = conv(normed, block.query_key), nn.functional.gelu(conv(normed, block.value))
    query, key = both[: len(x)], both[len(x) :]
    size, wide = len(x) // block.heads, len(value) // block.heads
    mixed = torch.zeros_like(value)
    for h in range(block.heads):
        for i, j in positions(x):
            near = [
                p
                for p in positions(x)
                if [n // block.window for n in p] == [n // block.window for n in (i, j)]
            ]
            q = query[h * size : (h + 1) * size, i, j]
            scores = [float(q @ key[h * size : (h + 1) * size, a, b]) / math.sqrt(size) for a, b in near]
            for weight, (a, b) in zip(softmax(scores), near, strict=True):
                mixed[h * wide : (h + 1) * wide, i, j] += weight * value[h * wide : (h + 1) * wide, a, b]
    local = batch_norm(conv(mixed, block.local), block.local_norm)
    return x + conv(mixed + local * torch.sigmoid(local), block.shrink)


LOOPS: dict[str, tuple[Callable[[Any, Tensor], Tensor], dict[str, Any]]] = {
    "simam": (simam, {"regularization": 0.01}),
    "ema": (ema, {"groups": 2}),
    "gam": (gam, {"reduction": 2, "kernel_size": 3}),
    "triplet": (triplet, {"kernel_size": 3}),
    "lska": (lska, {"kernel_size": 7, "dilation": 2}),
    "irmb": (irmb, {"expansion": 2, "head_dim": 2, "window": 3}),
}


def test_every_block_has_its_loops() -> None:
    assert LOOPS.keys() == ENTRIES.keys()


@pytest.mark.parametrize("name", LOOPS)
def test_a_block_computes_what_its_paper_says(name: str) -> None:
    by_loops, options = LOOPS[name]
    block = made(name, 4, **options)
    images = torch.randn(2, 4, 5, 7, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.stack([by_loops(block, image) for image in images])
        torch.testing.assert_close(block(images), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ENTRIES)
def test_inserted_it_is_exact_and_removed_without_a_trace(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _, cls = ENTRIES[name].partition(":")
    monkeypatch.setitem(BLOCKS, name, block_of(getattr(import_module(module), cls), name))
    base = timm.create_model("test_resnet").eval()
    images = torch.randn(2, 3, 64, 64)
    edit = {"op": "insert", "id": "more", "at": {"stage": 2}, "block": {"type": name}}
    edited = hi.apply(base, {"version": 1, "edits": [edit]}, 64)
    assert torch.equal(edited(images), base(images))
    assert all(check.passed for check in hi.verify(base, edited))
    assert torch.equal(hi.remove(edited)(images), base(images))


def test_a_kernel_that_cannot_be_split_is_refused() -> None:
    with pytest.raises(ValueError, match="must be odd, found 8 // 2 = 4"):
        made("lska", 4, kernel_size=8, dilation=2)
