"""Blocks of other libraries: each row of the table on maps of every shape, trained, counted and controlled."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import timm
import torch
from library import MATRIX, by_hand, only_where_timm_has
from torch import nn
from torch.nn import functional as F

from hmhsa_insert.blocks import ROWS, MapSize, Residual, block_type, build_block, parse_options, refusals
from hmhsa_insert.blocks.library import block as library
from hmhsa_insert.costs.count import count
from hmhsa_insert.errors import BlockError

CHANNELS = 64
SQUARE, OBLONG, RAGGED = (14, 14), (14, 28), (13, 17)
SIZES = (SQUARE, OBLONG, RAGGED)
# Options with which a row takes the square and the oblong map.
OPTIONS = {"timm/halo": {"block_size": 7}}
SQUARE_IN_OLD_TIMM = "timm/local_window_attention"  # 1.0.21, which says so itself
# What a softmax or a norm after it takes out again, and what no input of these tests reaches.
UNTRAINED = ("conv_attn.bias",)


def options_of(name: str, size: tuple[int, int]):
    """Return the options of a block, or None where it refuses the map; the refusal says which fit."""
    options, problems = parse_options({"type": name, **OPTIONS.get(name, {})})
    assert not problems
    found = refusals(options, MapSize(CHANNELS, *size), CHANNELS)
    if found:
        (problem,) = found
        if name == SQUARE_IN_OLD_TIMM and size != SQUARE:
            assert f"expect ({max(size)}, {max(size)}), got {size}" in problem.message
            return None
        assert size == RAGGED
        assert f"the map is {size[0]}×{size[1]}" in problem.message
        assert problem.tip.startswith("the nearest that fit: ")
        return None
    return options


@pytest.mark.parametrize("name", MATRIX)
def test_it_is_the_identity_and_trained_on_every_map_or_refuses_it(name):
    only_where_timm_has(name)
    for size in SIZES:
        options = options_of(name, size)
        if options is None:
            continue
        block = Residual(build_block(options, CHANNELS, size), CHANNELS)
        # On one of two opposite images some unit of a gate is alive, few as they are.
        image = torch.randn(2, CHANNELS, *size) + torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
        for training in (True, False):
            for layout in (torch.contiguous_format, torch.channels_last):
                x = image.clone().to(memory_format=layout)
                y = block.train(training)(x)
                assert torch.equal(x, image)
                assert torch.equal(y, image)
                assert y.stride() == x.stride()
        half = copy.deepcopy(block).bfloat16()(image.bfloat16())
        assert torch.equal(half, image.bfloat16())
        trained(block.train(), image)


def trained(block: Residual, image: torch.Tensor) -> None:
    """Take two steps from γ = 0, small ones, and assert that the third moves every parameter."""
    for _ in range(3):
        block.zero_grad()
        y = block(image)
        (y * torch.randn_like(y)).mean().backward()
        for parameter in block.parameters():
            parameter.data -= 1e-3 * parameter.grad.sign()
    for name, parameter in block.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0 or name.endswith(UNTRAINED), name


@pytest.mark.parametrize("name", MATRIX)
def test_its_values_are_those_of_its_class_and_its_cost_is_counted(name):
    only_where_timm_has(name)
    size = OBLONG if options_of(name, OBLONG) else SQUARE
    options = options_of(name, size)
    block = build_block(options, CHANNELS, size).eval()
    x = torch.randn(2, CHANNELS, *size)
    with torch.no_grad():
        expected = by_hand(block, ROWS[name].layout, x)
        for image in (x, x.to(memory_format=torch.channels_last)):
            torch.testing.assert_close(block(image), expected, atol=1e-5, rtol=1e-5)
        scaled = Residual(block, CHANNELS)
        scaled.gamma.data.fill_(0.5)
        added = expected - x if ROWS[name].residual else expected
        torch.testing.assert_close(scaled(x), x + 0.5 * added, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(copy.deepcopy(block)(x), expected, atol=1e-5, rtol=1e-5)
    counts = count(block, (CHANNELS, *size))
    cost = block_type(name).cost(options, MapSize(CHANNELS, *size), CHANNELS)
    assert counts.unknown_ops == ()
    assert (cost.num_params, cost.macs) == (counts.num_params, counts.macs)
    assert cost.num_params == sum(each.numel() for each in block.parameters())


@pytest.mark.parametrize("name", MATRIX)
def test_it_has_its_controls(name):
    only_where_timm_has(name)
    inp = MapSize(CHANNELS, *SQUARE)
    cost = block_type(name).cost(options_of(name, SQUARE), inp, CHANNELS)
    of = {"type": name, **OPTIONS.get(name, {})}
    for kind, wanted in (("placebo", cost.num_params), ("matched", cost.macs)):
        options, problems = parse_options({"type": kind, "of": of})
        assert not problems
        found = refusals(options, inp, CHANNELS)
        # A block without parameters has no placebo, and one without products no convolution of its cost.
        cheapest = 11 * CHANNELS * SQUARE[0] * SQUARE[1] if kind == "matched" else 1
        assert (not found) or wanted < cheapest
        if not found:
            made = block_type(kind).cost(options, inp, CHANNELS)
            assert (made.num_params if kind == "placebo" else made.macs) == pytest.approx(wanted, rel=0.03)
            if kind == "placebo":
                assert made.num_params == wanted


def test_the_table_is_whole():
    assert len(ROWS) - 21 >= 45
    for name, row in ROWS.items():
        assert name == row.type
        assert row.title
        assert row.licence
        assert dict(row.about)["paper"].startswith("https://")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"path": "timm.models.focalnet:Moved"}, "has no Moved in timm.models.focalnet, which the block"),
        (
            {"path": "timm.models.gone:FocalModulation"},
            "has no FocalModulation in timm.models.gone, which the block",
        ),
        ({"channels": ("width",)}, "has no parameter width, which the block 'timm/focal_modulation' needs"),
    ],
)
def test_a_class_that_moved_is_refused_by_name(changed, message, monkeypatch):
    name = "timm/focal_modulation"
    monkeypatch.setitem(ROWS, name, replace(ROWS[name], **changed))
    library.library_block.cache_clear()
    with pytest.raises(BlockError, match=f"timm {timm.__version__} has no") as error:
        block_type(name)
    assert message in str(error.value)
    assert parse_options({"type": name})[0] is None
    library.library_block.cache_clear()


def test_biases_that_eval_mode_gathers_are_those_of_the_weights():
    first, second = (build_block({"type": "timm/levit_attention"}, CHANNELS, 7).eval() for _ in range(2))
    nn.init.normal_(second.module.attention_biases)
    x = torch.randn(1, CHANNELS, 7, 7)
    with torch.no_grad():
        assert not torch.allclose(first(x), second(x))
        first.load_state_dict(second.state_dict())
        assert torch.equal(first(x), second(x))
    first(x)
    copy.deepcopy(first)  # which refuses tensors that autograd made


def test_last_norms_that_start_at_zero_start_at_one():
    block = build_block({"type": "timm/shsa"}, CHANNELS, 7)
    assert all((norm.weight == 1).all() for norm in block.modules() if isinstance(norm, nn.BatchNorm2d))


def test_deformed_by_nothing_it_is_half_a_convolution():
    block = build_block({"type": "torchvision/deform_conv", "dilation": 2}, 8, 9)
    x = torch.randn(2, 8, 9, 11)
    plain = F.conv2d(x, block.module.weight, padding=2, dilation=2) / 2 + block.module.bias.view(1, 8, 1, 1)
    torch.testing.assert_close(block(x), plain)
    nn.init.constant_(block.look.bias, 1.0)  # one down, one to the right, and masks of σ(1)
    moved = torch.zeros_like(x)
    moved[:, :, :-1, :-1] = x[:, :, 1:, 1:]
    inner = F.conv2d(moved, block.module.weight, padding=2, dilation=2) * torch.sigmoid(torch.tensor(1.0))
    inner = inner + block.module.bias.view(1, 8, 1, 1)
    torch.testing.assert_close(block(x)[:, :, 2:-3, 2:-3], inner[:, :, 2:-3, 2:-3])


def test_recurrence_and_deformed_products_are_counted():
    positions, width = SQUARE[0] * SQUARE[1], CHANNELS // 4
    options, _ = parse_options({"type": "timm/sequencer"})
    lstms = 2 * 2 * 4 * width * (CHANNELS + width)  # of rows and columns, both ways
    mixed = 4 * width * CHANNELS + 2 * 3 * CHANNELS**2
    cost = block_type("timm/sequencer").cost(options, MapSize(CHANNELS, *SQUARE), CHANNELS)
    assert cost.macs == positions * (lstms + mixed)
    options, _ = parse_options({"type": "torchvision/deform_conv"})
    cost = block_type("torchvision/deform_conv").cost(options, MapSize(CHANNELS, *SQUARE), CHANNELS)
    assert cost.macs == positions * 9 * CHANNELS * (CHANNELS + 27)
