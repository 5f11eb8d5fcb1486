"""The two controls: a placebo that cannot mix tokens, and a convolution block of matched cost."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from library import only_where_timm_has
from plain import randomized
from specs import SAME
from torch.autograd.functional import jacobian

from hmhsa_insert.blocks import (
    MapSize,
    OptionProblem,
    Residual,
    block_type,
    build_block,
    parse_options,
    refusals,
)
from hmhsa_insert.blocks.library.gates import GATES
from hmhsa_insert.blocks.types.matched import matched_widths
from hmhsa_insert.errors import BlockError

STOOD_FOR = {name: spec for name, spec in SAME.items() if spec["type"] not in ("placebo", "matched")}
STOOD_FOR |= {
    f"timm/{name}": {"type": f"timm/{name}"} for name in ("se", "eca", "cbam", "bottleneck", "nl", "halo")
}
SPATIAL = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def cost(spec, inp):
    options, problems = parse_options(spec)
    assert not problems
    return block_type(spec["type"]).cost(options, inp, inp.channels)


def num_params(module):
    return sum(parameter.numel() for parameter in module.parameters())


def mixing(block, channels):
    """Return the largest derivative of an output position by another input position, and by its own."""
    x = torch.randn(1, channels, 3, 4, dtype=torch.float64)
    matrix = jacobian(block.double(), x).reshape(channels, 12, channels, 12).abs().amax((0, 2))
    return matrix.fill_diagonal_(0).max().item(), jacobian(block, x).abs().max().item()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", STOOD_FOR)
def test_placebo_cannot_mix_tokens(name, training):
    # In training too: the statistics of a batch norm would carry one position to another.
    block = randomized(build_block({"type": "placebo", "of": STOOD_FOR[name]}, 16, (16, 16))).train(training)
    others, own = mixing(block, 16)
    assert others == 0
    assert own > 0


def test_the_measure_of_mixing_sees_blocks_that_mix():
    for spec in ({"type": "mhsa", "head_dim": 8}, {"type": "timm/se"}, {"type": "matched"}):
        assert mixing(build_block(spec, 64, (3, 4)).eval(), 64)[0] > 0


@pytest.mark.parametrize("name", STOOD_FOR)
def test_placebo_has_exactly_the_parameters_of_its_block(name):
    for channels in (16, 64):
        placebo = build_block({"type": "placebo", "of": STOOD_FOR[name]}, channels, (16, 16))
        assert num_params(placebo) == num_params(build_block(STOOD_FOR[name], channels, (16, 16)))


@SPATIAL
@given(
    channels=st.integers(1, 12).map(lambda n: 8 * n),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    name=st.sampled_from(["hmhsa", "mhsa-width", "pooled", "transcnn", "irb"]),
)
def test_plans_predict_controls_exactly(channels, height, width, name):
    inp = MapSize(channels, height, width)
    placebo = {"type": "placebo", "of": STOOD_FOR[name]}
    with torch.device("meta"):
        assert num_params(build_block(placebo, channels, (height, width))) == cost(placebo, inp).num_params
        assert cost(placebo, inp).num_params == cost(STOOD_FOR[name], inp).num_params
        matched = {"type": "matched", "of": STOOD_FOR[name]}
        if not refusals(parse_options(matched)[0], inp, channels):
            ratio = cost(matched, inp).macs / cost(STOOD_FOR[name], inp).macs
            assert abs(ratio - 1) <= 0.03
            block = build_block(matched, channels, (height, width))
            assert block.ratio == ratio
            assert num_params(block) == cost(matched, inp).num_params


@pytest.mark.parametrize("kind", ["hmhsa", "hmhsa_pooled", "mhsa", "transformer", "irb", "transcnn"])
def test_matched_is_within_half_a_percent_at_the_sizes_of_a_resnet(kind):
    for channels, side in ((64, 56), (128, 28), (256, 14), (512, 7)):
        inp = MapSize(channels, side, side)
        ratio = cost({"type": "matched", "of": {"type": kind}}, inp).macs / cost({"type": kind}, inp).macs
        assert abs(ratio - 1) < 0.005


def test_matched_widths_are_the_best_there_are():
    for channels, macs, positions in ((16, 200_000, 49), (64, 9_999_999, 196), (24, 123_456, 25)):
        best = min(
            abs(((a + b) * channels + 9 * a * b) * positions - macs)
            for a in range(1, 400)
            for b in range(1, 400)
            if max(a, b) <= 2 * min(a, b)
        )
        a, b = matched_widths(channels, macs, positions)
        assert abs(((a + b) * channels + 9 * a * b) * positions - macs) == best


@pytest.mark.parametrize("name", ["hmhsa", "mhsa", "timm/se", "timm/eca"])
@pytest.mark.parametrize("identity", [True, False])
def test_every_parameter_of_a_placebo_is_trained(name, identity):
    block = Residual(build_block({"type": "placebo", "of": STOOD_FOR[name]}, 16, 14), 16, identity)
    optimizer = torch.optim.SGD(block.parameters(), lr=0.1)
    x, target = torch.randn(4, 16, 14, 14), torch.randn(4, 16, 14, 14)
    if identity:
        assert torch.equal(block(x), x)
    for _ in range(2):  # behind gamma = 0 the first step moves gamma alone
        optimizer.zero_grad()
        (block(x) * target).sum().backward()
        optimizer.step()
    for parameter in block.block.parameters():
        assert (parameter.grad != 0).all()


def test_a_control_in_one_word_stands_for_hmhsa():
    inp = MapSize(64, 14, 14)
    assert cost({"type": "placebo"}, inp).num_params == cost({"type": "hmhsa"}, inp).num_params


BAD = [
    ({"type": "tdb"}, ("type",), "a control stands for a block that keeps its map, and tdb does not"),
    ({"type": "silu"}, ("type",), "a control stands for a block that keeps its map, and silu does not"),
    ({"type": "matched"}, ("type",), "matched is a control itself, and none stands for it"),
    ({"type": "hmsa"}, ("type",), "there is no block type 'hmsa'"),
    ({"type": "timm/no"}, ("type",), "there is no block type 'timm/no'"),
    ({"head_dim": 8}, (), "of must be a block with its type"),
    ("hmhsa", (), "of must be a block with its type"),
    ({"type": "hmhsa", "hed_dim": 8}, ("hed_dim",), "unknown key 'hed_dim' in the options of hmhsa"),
    ({"type": "hmhsa", "grids": [7, 0]}, ("grids", 1), "'grids[1]' must be 1 or more, found 0"),
]


@pytest.mark.parametrize("kind", ["placebo", "matched"])
@pytest.mark.parametrize(("of", "key", "message"), BAD, ids=[str(bad[0]) for bad in BAD])
def test_messages_about_the_block_it_stands_for(kind, of, key, message):
    options, problems = parse_options({"type": kind, "of": of})
    assert options is None
    assert [(problem.key, problem.message) for problem in problems] == [(("of", *key), message)]


def test_all_problems_of_the_block_it_stands_for_come_together():
    _, problems = parse_options(
        {"type": "placebo", "of": {"type": "mhsa", "norm": "x", "width": 0}, "off": 1}
    )
    assert {problem.key for problem in problems} == {("of", "norm"), ("of", "width"), ("off",)}


def test_what_its_block_refuses_a_control_refuses():
    for kind in ("placebo", "matched"):
        options, _ = parse_options({"type": kind, "of": {"type": "mhsa", "head_dim": 7}})
        assert refusals(options, MapSize(16, 7, 7), 16) == [
            OptionProblem(
                ("of", "head_dim"),
                "head_dim 7 does not divide 16 channels; nearest that do: 4, 8",
                "head_dim: auto chooses one that does",
            )
        ]
        options, _ = parse_options({"type": kind, "of": {"type": "timm/halo"}})
        assert refusals(options, MapSize(16, 7, 7), 16)[0].key == ("of", "block_size")


def test_a_gate_is_too_cheap_for_a_convolution():
    with pytest.raises(
        BlockError, match=r"no convolution block costs as little as timm/se does on 64×14×14: "
    ):
        build_block({"type": "matched", "of": {"type": "timm/se"}}, 64, 14)


def test_a_control_needs_the_size_its_block_needs():
    assert build_block({"type": "placebo", "of": {"type": "mhsa"}}, 64)
    for spec in ({"type": "placebo"}, {"type": "matched", "of": {"type": "mhsa"}}):
        with pytest.raises(BlockError, match="is made for one size of the map"):
            build_block(spec, 64)


@pytest.mark.parametrize("name", [row.name for row in GATES])
def test_any_layer_of_timm_has_controls_or_a_reason(name):
    only_where_timm_has(f"timm/{name}")
    inp = MapSize(64, 32, 32)
    for kind in ("placebo", "matched"):
        spec = {"type": kind, "of": {"type": f"timm/{name}"}}
        problems = refusals(parse_options(spec)[0], inp, 64)
        if problems:
            assert all(problem.key[0] == "of" and problem.message for problem in problems)
            continue
        x = torch.randn(1, 64, 32, 32)
        assert build_block(spec, 64, 32).eval()(x).shape == x.shape
