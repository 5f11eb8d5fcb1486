"""The closed formulas against the built module: its parameters, and half of the FLOPs torch counts."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from specs import ALL, HALF
from torch.utils.flop_counter import FlopCounterMode

from hmhsa_insert.blocks import BLOCKS, BlockCost, MapSize, block_type, build_block, parse_options

COUNTED = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def measured(block, inp):
    """Count one image, without storage."""
    with FlopCounterMode(display=False) as counter:
        block(torch.empty(1, inp.channels, inp.height, inp.width, device="meta"))
    return BlockCost(sum(p.numel() for p in block.parameters()), counter.get_total_flops() // 2)


def predicted(spec, inp, out_channels):
    options, problems = parse_options(spec)
    assert not problems
    return block_type(spec["type"]).cost(options, inp, out_channels)


@pytest.mark.parametrize("name", ALL)
@COUNTED
@given(
    channels=st.sampled_from([8, 16, 40]),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    out=st.sampled_from([8, 24]),
)
def test_formula_equals_counted(name, channels, height, width, out):
    inp = MapSize(channels, height, width)
    out_channels = out if name in HALF else channels
    with torch.device("meta"):
        block = build_block(ALL[name], channels, (height, width), out_channels).eval()
    assert predicted(ALL[name], inp, out_channels) == measured(block, inp)


@pytest.mark.parametrize(
    ("spec", "inp", "expected"),
    [
        # 4·N·C² + 2·N²·C with N = 49, C = 64; 4C² + C and two for each channel of the norm.
        ({"type": "mhsa"}, MapSize(64, 7, 7), BlockCost(16448 + 128, 802_816 + 307_328)),
        # One step at 7×7 is plain attention and costs as much.
        ({"type": "hmhsa"}, MapSize(64, 7, 7), BlockCost(16448 + 128, 802_816 + 307_328)),
        # 56×56: 3·3136·64² + 2·64·3136·64, then 3·49·64² + 2·64·49², then 3136·64².
        (
            {"type": "hmhsa", "grids": [8, 7]},
            MapSize(64, 56, 56),
            BlockCost(2 * 12288 + 4096 + 64 + 128, 38_535_168 + 25_690_112 + 602_112 + 307_328 + 12_845_056),
        ),
        # 5·784·128² + 2·49·128² + 2·128·784·(49 + 49).
        (
            {"type": "hmhsa_pooled", "pool": 4},
            MapSize(128, 28, 28),
            BlockCost(7 * 16384 + 13 * 128, 64_225_280 + 1_605_632 + 19_668_992),
        ),
        ({"type": "irb"}, MapSize(8, 4, 4), BlockCost(2 * 8 * 32 + 288 + 144, 16 * (512 + 288))),
        ({"type": "silu"}, MapSize(8, 4, 4), BlockCost(0, 0)),
    ],
)
def test_formula_by_hand(spec, inp, expected):
    assert predicted(spec, inp, inp.channels) == expected


def test_activations_cost_nothing():
    for name, block in BLOCKS.items():
        if block.shape == "any":
            module = build_block({"type": name}, 8)
            assert (
                measured(module, MapSize(8, 4, 4))
                == BlockCost(0, 0)
                == predicted({"type": name}, MapSize(8, 4, 4), 8)
            )


def test_hmhsa_is_linear_in_the_number_of_tokens_and_mhsa_is_not():
    growth = {}
    for name in ("hmhsa", "mhsa"):
        small = predicted({"type": name}, MapSize(64, 56, 56), 64).macs
        growth[name] = predicted({"type": name}, MapSize(64, 112, 112), 64).macs / small
    assert 3.9 < growth["hmhsa"] < 4.2
    assert growth["mhsa"] > 14
