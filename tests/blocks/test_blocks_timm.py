import inspect
import re

import pytest
import timm
import torch
from library import only_where_timm_has
from timm.layers import create_attn, get_attn

from hmhsa_insert.blocks import (
    BlockCost,
    MapSize,
    OptionProblem,
    block_type,
    build_block,
    parse_options,
    refusals,
)
from hmhsa_insert.blocks.library.gates import GATES
from hmhsa_insert.errors import BlockError

NAMES = sorted(row.name for row in GATES)


def test_names_are_those_of_timm():
    of_timm = set(re.findall(r"attn_type == '(\w+)'", inspect.getsource(get_attn)))
    assert of_timm <= set(NAMES)
    for name in set(NAMES) - of_timm:  # of a later timm
        with pytest.raises(
            BlockError, match=rf"timm {timm.__version__} has no \w+ in timm\.layers\.\w+, which"
        ):
            block_type(f"timm/{name}")


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_builds_and_keeps_the_shape(name):
    only_where_timm_has(f"timm/{name}")
    module = build_block({"type": f"timm/{name}"}, 64, (56, 56)).eval()
    x = torch.randn(2, 64, 56, 56)
    with torch.no_grad():
        y = module(x)
    assert y.shape == x.shape
    kwargs = {"bottleneck": {"feat_size": (56, 56)}, "ge": {"use_mlp": False}}.get(name, {})
    reference = create_attn(name, 64, **kwargs).eval()
    reference.load_state_dict(module.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(y, reference(x))
    options, _ = parse_options({"type": f"timm/{name}"})
    cost = block_type(f"timm/{name}").cost(options, MapSize(64, 56, 56), 64)
    assert cost.num_params == sum(p.numel() for p in reference.parameters())


def test_options_reach_the_layer():
    module = build_block({"type": "timm/se", "rd_channels": 12, "bias": False}, 64)
    assert module.fc1.weight.shape == (12, 64, 1, 1)
    assert module.fc1.bias is None
    # The squeeze and the excitation, each on one position.
    options, _ = parse_options({"type": "timm/se", "rd_channels": 12, "bias": False})
    assert block_type("timm/se").cost(options, MapSize(64, 9, 9), 64) == BlockCost(2 * 12 * 64, 2 * 12 * 64)


def test_a_layer_made_for_one_size_needs_it():
    with pytest.raises(
        BlockError, match=r"^type: timm/bottleneck is made for one size of the map \(pass size"
    ):
        build_block({"type": "timm/bottleneck"}, 64)
    assert build_block({"type": "timm/bottleneck"}, 64, (7, 9)).pos_embed.height == 7


@pytest.mark.parametrize(
    ("name", "side", "fitting"), [("halo", 8, "8×8 and 16×16"), ("bat", 7, "14×14 and 21×21")]
)
def test_sizes_a_layer_cannot_run_are_refused(name, side, fitting):
    options, _ = parse_options({"type": f"timm/{name}"})
    message = f"timm's '{name}' needs a height and width that are multiples of its block_size {side}"
    assert refusals(options, MapSize(64, 15, 15), 64) == [
        OptionProblem(("block_size",), f"{message}; the map is 15×15", f"the nearest that fit: {fitting}")
    ]
    assert refusals(options, MapSize(64, 2 * side, side), 64) == []


def test_what_timm_cannot_build_is_refused_with_its_reason():
    options, _ = parse_options({"type": "timm/bottleneck", "num_heads": 5})
    assert refusals(options, MapSize(64, 7, 7), 64) == [
        OptionProblem(
            ("type",),
            "'timm/bottleneck' fails on a map of 64×7×7: AssertionError",
            f"the class is that of timm {timm.__version__}; it may take other options, or another map",
        )
    ]


@pytest.mark.parametrize("name", ["relu", "batchnorm", ""])
def test_what_is_no_attention_layer_is_refused(name):
    with pytest.raises(BlockError, match=f"there is no block type 'timm/{name}'"):
        block_type(f"timm/{name}")
