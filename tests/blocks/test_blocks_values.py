"""The attention blocks against loops over cells in float64, and against the plain definition where sizes divide."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain import PlainPooled, attend_in_cells, group_norm, hmhsa_loops, linear, pooled_loops, randomized

from hmhsa_insert.blocks import build_block
from hmhsa_insert.blocks.hmhsa import Hmhsa
from hmhsa_insert.blocks.hmhsa_pooled import HmhsaPooled
from hmhsa_insert.blocks.types.hmhsa import auto_grids

SIDES = st.integers(1, 10)
RANDOM = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_matches(block, reference, height, width, channels=8, atol=1e-5):
    """Compare float64 and float32 runs of the block with the reference, image by image."""
    x = torch.randn(2, channels, height, width, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.stack([reference(image.permute(1, 2, 0)).permute(2, 0, 1) for image in x])
        torch.testing.assert_close(block(x), expected, atol=1e-10, rtol=1e-8)
        torch.testing.assert_close(block.float()(x.float()).double(), expected, atol=atol, rtol=1e-5)


@RANDOM
@given(
    height=SIDES,
    width=SIDES,
    grids=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    mode=st.sampled_from(["nearest", "bilinear"]),
    last=st.sampled_from(["global", "literal"]),
    bias=st.booleans(),
)
def test_hmhsa_equals_loops(height, width, grids, mode, last, bias):
    block = randomized(Hmhsa(8, 4, tuple(grids), mode, "group", last, bias).double())
    assert_matches(block, lambda image: hmhsa_loops(block, image, 4, mode, last), height, width)


@pytest.mark.parametrize("size", [(56, 56), (28, 28), (14, 14), (7, 7), (1, 1), (50, 84), (33, 25)])
def test_hmhsa_with_auto_grids_equals_loops(size):
    block = build_block({"type": "hmhsa", "head_dim": 4}, 8, size).double()
    assert block.grids == auto_grids(*size)
    randomized(block)
    assert_matches(block, lambda image: hmhsa_loops(block, image, 4), *size)


@RANDOM
@given(height=SIDES, width=SIDES, grid=st.integers(2, 6), pool=st.integers(1, 5))
def test_pooled_equals_loops(height, width, grid, pool):
    block = randomized(HmhsaPooled(8, 4, grid, pool).double())
    assert_matches(block, lambda image: pooled_loops(block, image, 4), height, width)


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("grid", "pool", "size"), [(8, 8, 16), (7, 4, 28), (7, 2, 14), (4, 4, 8), (1, 1, 7)])
def test_pooled_equals_plain_definition(norm, training, grid, pool, size):
    plain = randomized(PlainPooled(16, 8, grid, pool, norm)).double().train(training)
    fast = HmhsaPooled(16, 8, grid, pool, norm).double().train(training)
    fast.load_state_dict(plain.state_dict())
    x = torch.randn(2, 16, size, size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn_like(x)
    results = []
    for module in (plain, fast):
        y = module(x)
        gradients = torch.autograd.grad((y * weight).sum(), [x, *module.parameters()])
        results.append((y, *gradients, *module.buffers()))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)
    with torch.no_grad():
        found = fast.float()(x.float())
        torch.testing.assert_close(found, plain.float()(x.float()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("spec", [{"type": "mhsa"}, {"type": "mhsa", "qkv_bias": True}])
@pytest.mark.parametrize("size", [(7, 7), (5, 9), (1, 1)])
def test_mhsa_equals_one_literal_step(spec, size):
    mhsa = randomized(build_block({**spec, "head_dim": 4}, 8).double())
    step = Hmhsa(8, 4, (99,), qkv_bias=spec.get("qkv_bias", False)).double()
    state = {k.replace("qkv.", "qkv.0."): v for k, v in mhsa.state_dict().items()}
    step.load_state_dict(state)

    def reference(image):
        # One step adds X̂ to its attention before the projection, and X after it.
        shortcut = linear(group_norm(image, step.norm), step.proj.weight)
        return hmhsa_loops(step, image, 4) - image - shortcut

    assert_matches(mhsa, reference, *size)


def test_attention_is_local_before_it_is_global():
    """With the coarse steps silenced, a token moves only its own cell; with them, every token."""
    block = randomized(Hmhsa(8, 4, (4, 2), norm="none").double())
    x = torch.randn(1, 8, 8, 8, dtype=torch.float64)
    moved = x.clone()
    moved[:, :, 0, 0] += 1
    with torch.no_grad():
        change = (block(moved) - block(x)).abs().sum(1)[0]
        assert (change > 0).all()
        first = Hmhsa(8, 4, (4,), norm="none", last="literal").double()
        first.load_state_dict({k: v for k, v in block.state_dict().items() if "qkv.1" not in k})
        change = (first(moved) - first(x)).abs().sum(1)[0]
    assert (change[:4, :4] > 0).all()
    assert change[4:].max() == 0
    assert change[:, 4:].max() == 0


@pytest.mark.parametrize(
    ("size", "grids"),
    [
        ((56, 56), (7, 8)),
        ((28, 28), (7, 4)),
        ((14, 14), (7, 2)),
        ((7, 7), (7,)),
        ((1, 1), (1,)),
        ((10, 10), (10,)),
        ((224, 224), (7, 8, 4)),
        ((50, 84), (8, 11)),
        ((16, 16), (8, 2)),
        ((11, 11), (8, 2)),
    ],
)
def test_auto_grids(size, grids):
    assert auto_grids(*size) == grids


@pytest.mark.parametrize("name", ["transformer", "transcnn", "hmhsa"])
def test_branch_is_forward_minus_x(name):
    options = {"type": name, "head_dim": 4, **({"grid_size": 4} if name == "transcnn" else {})}
    block = randomized(build_block(options, 8, (9, 11)).double()).eval()
    x = torch.randn(2, 8, 9, 11, dtype=torch.float64)
    with torch.no_grad():
        branch = block.branch(x)
        torch.testing.assert_close(branch, block(x) - x, atol=1e-12, rtol=1e-10)
    assert branch.abs().mean() > 0.1


@pytest.mark.parametrize("act", ["gelu", "silu"])
def test_transformer_equals_its_equations(act):
    spec = {"type": "transformer", "head_dim": 4, "mlp_ratio": 3, "act": act}
    block = randomized(build_block(spec, 8).double())
    activation = {"gelu": torch.nn.functional.gelu, "silu": torch.nn.functional.silu}[act]

    def layer_norm(tokens, norm):
        mean, variance = tokens.mean(-1, keepdim=True), tokens.var(-1, unbiased=False, keepdim=True)
        return (tokens - mean) / (variance + norm.eps) ** 0.5 * norm.weight + norm.bias

    def reference(image):
        attn, mlp = block.attn, block.mlp
        mixed = attend_in_cells(layer_norm(image, block.norm1), attn.qkv.weight, attn.qkv.bias, 4, 99)
        image = image + linear(mixed, attn.proj.weight, attn.proj.bias)
        hidden = activation(linear(layer_norm(image, block.norm2), mlp.fc1.weight, mlp.fc1.bias))
        return image + linear(hidden, mlp.fc2.weight, mlp.fc2.bias)

    assert_matches(block, reference, 5, 6)


@pytest.mark.parametrize("name", ["hmhsa", "hmhsa_pooled", "mhsa"])
def test_width_is_reduce_block_expand(name):
    grid = {"grid_size": 4} if name == "hmhsa_pooled" else {}
    narrow = randomized(build_block({"type": name, "head_dim": 4, "width": 8, **grid}, 24, (9, 9)).double())
    inner = build_block({"type": name, "head_dim": 4, **grid}, 8, (9, 9)).double()
    inner.load_state_dict(narrow.block.state_dict())
    x = torch.randn(2, 24, 9, 9, dtype=torch.float64)
    with torch.no_grad():
        reduced = torch.einsum("oi,nihw->nohw", narrow.reduce.weight[:, :, 0, 0], x)
        mixed = inner(reduced) - (reduced if name == "hmhsa" else 0)
        expected = torch.einsum("oi,nihw->nohw", narrow.expand.weight[:, :, 0, 0], mixed)
        expected = expected + (x if name == "hmhsa" else 0)
        torch.testing.assert_close(narrow(x), expected)


@pytest.mark.parametrize("size", [(8, 12), (9, 13), (1, 1), (1, 6)])
def test_tdb_equals_its_equation(size):
    block = randomized(build_block({"type": "tdb"}, 8, out_channels=12).double()).eval()
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    height, width = -(-size[0] // 2), -(-size[1] // 2)
    pooled = torch.empty(2, 8, height, width, dtype=torch.float64)
    for row in range(height):
        for col in range(width):
            pooled[:, :, row, col] = x[:, :, 2 * row : 2 * row + 2, 2 * col : 2 * col + 2].amax((2, 3))
    with torch.no_grad():
        total = block.norm1(block.conv(x)) + block.norm2(block.residual(pooled))
        torch.testing.assert_close(block(x), total * torch.sigmoid(total))
