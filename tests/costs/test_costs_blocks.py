"""What the counters say of the blocks and networks, against the paper's formulas and the published columns."""

from __future__ import annotations

import itertools

import pytest
import timm
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import hmhsa_insert.models  # noqa: F401  (registers them with timm)
from hmhsa_insert.blocks import build_block
from hmhsa_insert.blocks.base import MapSize
from hmhsa_insert.blocks.build import parse_options
from hmhsa_insert.blocks.table import block_type
from hmhsa_insert.costs.count import count
from hmhsa_insert.costs.crosscheck import crosscheck
from hmhsa_insert.costs.memory import training_memory

SPECS = [
    {"type": "hmhsa", "head_dim": 8},
    {"type": "hmhsa", "head_dim": 8, "grids": [3, 2, 2], "qkv_bias": True},
    {"type": "hmhsa", "head_dim": 4, "grids": [4, 2], "last": "literal", "norm": "batch"},
    {"type": "hmhsa", "head_dim": 8, "width": 24},
    {"type": "hmhsa_pooled", "head_dim": 8},
    {"type": "hmhsa_pooled", "head_dim": 16, "grid_size": 4, "pool": 3, "norm": "batch"},
    {"type": "hmhsa_pooled", "head_dim": 8, "grid_size": 1},
    {"type": "mhsa", "head_dim": 8},
    {"type": "mhsa", "head_dim": 4, "width": 8, "qkv_bias": True},
    {"type": "transformer", "head_dim": 8},
    {"type": "irb", "expansion": 3, "kernel_size": 5},
    {"type": "transcnn", "head_dim": 8},
    {"type": "tdb"},
    {"type": "downsample"},
    {"type": "placebo", "of": {"type": "hmhsa_pooled", "head_dim": 8}},
    {"type": "matched", "of": {"type": "hmhsa", "head_dim": 8}},
    {"type": "timm/se"},
    {"type": "timm/eca"},
    {"type": "timm/cbam"},
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: "-".join(map(str, spec.values())))
@settings(deadline=None, max_examples=4)
@given(channels=st.sampled_from([16, 32, 48]), height=st.integers(2, 23), width=st.integers(2, 23))
def test_counted_equals_the_closed_formula(spec, channels, height, width):
    options, _ = parse_options(spec)
    block = block_type(spec["type"])
    assume(not block.refuse(options, MapSize(channels, height, width), channels))
    formula = block.cost(options, MapSize(channels, height, width), channels)
    counts = count(build_block(spec, channels, (height, width)), (channels, height, width))
    assert counts.macs == formula.macs
    assert counts.num_params == formula.num_params
    assert not counts.unknown_ops


def tokens_and_channels(size: tuple[int, int, int]) -> tuple[int, int]:
    return size[1] * size[2], size[0]


def test_hmhsa_costs_what_the_paper_derives():
    """Ω = 3NC² + 2NG²C a step, over N, N/G² … tokens, and NC² for the projection."""
    size, grids = (64, 56, 56), (8, 7)
    tokens, channels = tokens_and_channels(size)
    expected = tokens * channels**2
    for grid in grids:
        expected += 3 * tokens * channels**2 + 2 * tokens * grid**2 * channels
        tokens //= grid**2
    block = build_block({"type": "hmhsa", "head_dim": 32, "grids": list(grids)}, 64, 56)
    assert count(block, size).macs == expected


def test_mhsa_costs_what_the_paper_derives():
    """Ω = 3NC² + 2N²C, and NC² for the projection."""
    size = (64, 14, 10)
    tokens, channels = tokens_and_channels(size)
    block = build_block({"type": "mhsa", "head_dim": 16}, 64, (14, 10))
    assert count(block, size).macs == 4 * tokens * channels**2 + 2 * tokens**2 * channels


# name -> (side of the image, GMAC of modules only, GMAC with attention)
NETWORKS = {
    "hat_net_tiny": (224, 1.974, 2.128),
    "hat_net_small": (224, 4.300, 4.548),
    "hat_net_medium": (224, 8.308, 8.777),
    "hat_net_large": (224, 11.458, 12.075),
    "transcnn_tiny": (256, None, 2.851),
    "transcnn_small": (256, None, 5.652),
    "transcnn_medium": (256, None, 9.520),
    "transcnn_large": (256, None, 15.461),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_published_columns(name):
    side, modules_only, with_attention = NETWORKS[name]
    counts = count(timm.create_model(name), (3, side, side))
    assert round(counts.macs / 1e9, 3) == with_attention
    assert modules_only is None or round(counts.macs_modules_only / 1e9, 3) == modules_only
    assert not counts.unknown_ops


FAMILIES = ("hat_net", "transcnn", "irb")
SIZES = ("small", "medium", "large")
LARGER = [pytest.param(f"{f}_{size}", marks=pytest.mark.long) for f in FAMILIES for size in SIZES]


@pytest.mark.parametrize("name", [*(f"{family}_tiny" for family in FAMILIES), *LARGER])
def test_fvcore_agrees_on_the_families(name):
    model = timm.create_model(name)
    check = crosscheck(model, count(model, (3, 64, 64)))
    assert check.difference == 0.0
    assert not check.finding


def growth(spec: dict[str, object], channels: int) -> tuple[list[float], list[float]]:
    """Return MACs and saved bytes at 56, 112 and 224, each divided by those at half the side."""
    macs, saved = [], []
    for side in (28, 56, 112, 224):
        block = build_block(spec, channels, side)
        macs.append(count(block, (channels, side, side)).macs)
        saved.append(training_memory(block, (channels, side, side)).saved_bytes)
    return [[b / a for a, b in itertools.pairwise(row)] for row in (macs, saved)]


@pytest.mark.parametrize("channels", [32, 64, 96, 256])
def test_hierarchical_attention_grows_with_the_tokens(channels):
    macs, saved = growth({"type": "hmhsa", "head_dim": 32}, channels)
    assert max(macs) <= 4.2
    assert max(saved) <= 4.2


def test_pooled_attention_grows_faster_than_the_tokens():
    macs, saved = growth({"type": "hmhsa_pooled", "head_dim": 64, "grid_size": 8, "pool": 8}, channels=64)
    assert macs == pytest.approx([4.71, 6.15, 9.59], abs=0.01)
    assert max(saved) <= 4.01
