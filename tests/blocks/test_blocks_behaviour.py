"""What every block owes its host: shapes, memory format, dtype, gradients, compilers, and no overflow."""

import copy
import warnings

import pytest
import torch
from plain import randomized
from specs import ALL, HALF, SAME
from torch._subclasses.fake_tensor import FakeTensorMode

from hmhsa_insert.blocks import BLOCKS, build_block

TORCH = tuple(int(part) for part in torch.__version__.split(".")[:2])
CHANNELS = 16
# One of each path through the code, for the slow checks.
PATHS = [
    "hmhsa-list",
    "hmhsa-bilinear",
    "pooled",
    "pooled-global",
    "mhsa-width",
    "transformer",
    "transcnn",
    "tdb",
]
SIZES = [(56, 56), (28, 28), (14, 14), (7, 7), (1, 1), (50, 84), (25, 33), (13, 17), (1, 9)]


def build(name, size=(13, 17)):
    return build_block(ALL[name], CHANNELS, size).eval()


def output_size(name, size):
    return tuple(-(-side // 2) for side in size) if name in HALF else tuple(size)


def test_every_block_type_is_tested():
    tested = {spec["type"] for spec in ALL.values()}
    assert tested == {name for name, block in BLOCKS.items() if block.shape != "any"}


@pytest.mark.parametrize("name", ALL)
def test_runs_at_other_sizes_than_it_was_built_for(name):
    block = randomized(build(name, (14, 14)))
    for size in SIZES:
        x = torch.randn(1, CHANNELS, *size)
        with torch.no_grad():
            y = block(x)
        assert y.shape == (1, CHANNELS, *output_size(name, size))
        assert y.isfinite().all()


@pytest.mark.parametrize("name", ALL)
def test_memory_format_is_kept_and_values_do_not_depend_on_it(name):
    block = randomized(build(name))
    x = torch.randn(2, CHANNELS, 13, 17)
    with torch.no_grad():
        plain = block(x)
        last = block(x.to(memory_format=torch.channels_last))
        sliced = block(torch.randn(2, 2 * CHANNELS, 13, 17)[:, ::2].copy_(x))
    assert plain.is_contiguous()
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last, plain, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sliced, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", ALL)
def test_dtypes(name, dtype):
    block = randomized(build(name))
    x = torch.randn(2, CHANNELS, 9, 10)
    with torch.no_grad():
        expected = block(x)
        y = copy.deepcopy(block).to(dtype)(x.to(dtype))
    assert y.dtype == dtype
    error = (y.float() - expected).abs().max() / expected.abs().max()
    assert error < {torch.float16: 0.02, torch.bfloat16: 0.1, torch.float64: 1e-5}[dtype]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", [name for name in SAME if name != "hmhsa-batch"])
def test_no_overflow_in_half_precision(name, training, dtype):
    block = build_block(ALL[name], CHANNELS, (14, 14)).to(dtype).train(training)
    x = torch.randn(4, CHANNELS, 14, 14) * 1e4
    assert block(x.to(dtype)).isfinite().all()
    assert block(torch.full_like(x, 1e4).to(dtype)).isfinite().all()


def test_no_overflow_with_batch_norm_that_has_seen_the_activations():
    block = build_block(ALL["hmhsa-batch"], CHANNELS, (14, 14)).half().train()
    x = (torch.randn(4, CHANNELS, 14, 14) * 1e4).half()
    for _ in range(50):
        assert block(x).isfinite().all()
    assert block.eval()(x).isfinite().all()


@pytest.mark.parametrize("name", ALL)
def test_autocast(name):
    block = randomized(build(name))
    x = torch.randn(2, CHANNELS, 9, 10)
    with torch.no_grad():
        expected = block(x)
        with torch.autocast("cpu", torch.bfloat16):
            y = block(x)
    assert (y.float() - expected).abs().max() / expected.abs().max() < 0.1


@pytest.mark.parametrize("name", ALL)
def test_two_backward_passes_reach_every_parameter(name):
    block = build_block(ALL[name], CHANNELS, (13, 17)).train()
    optimizer = torch.optim.SGD(block.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad(set_to_none=True)
        x = torch.randn(2, CHANNELS, 13, 17, requires_grad=True)
        y = block(x)
        (y * torch.randn_like(y)).sum().backward()
        for parameter_name, parameter in block.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.abs().sum() > 0, parameter_name
        assert x.grad.isfinite().all()
        optimizer.step()


@pytest.mark.parametrize("name", ["hmhsa-list", "pooled-batch"])
def test_gradients_are_those_of_finite_differences(name):
    block = randomized(build_block({**SAME[name], "head_dim": 2}, 4, (7, 5)).double())
    x = torch.randn(2, 4, 7, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, x, fast_mode=True)


@pytest.mark.parametrize("name", PATHS)
def test_compiles_without_graph_breaks(name):
    torch._dynamo.reset()
    block = randomized(build(name))
    compiled = torch.compile(block, fullgraph=True, backend="eager", dynamic=False)
    for size in [(13, 17), (8, 8)]:
        x = torch.randn(2, CHANNELS, *size)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), block(x))


@pytest.mark.parametrize("name", PATHS)
def test_exports_with_any_batch(name):
    block = randomized(build(name))
    x = torch.randn(3, CHANNELS, 13, 17)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(
            block, (x,), dynamic_shapes=({0: torch.export.Dim("batch", max=1024)},), strict=False
        )
    other = torch.randn(5, CHANNELS, 13, 17)
    with torch.no_grad():
        torch.testing.assert_close(exported.module()(other), block(other))


@pytest.mark.parametrize("name", ALL)
def test_runs_on_fake_and_meta_tensors(name):
    expected = (2, CHANNELS, *output_size(name, (13, 17)))
    # Where there is no GPU, group norm of a fake GPU tensor aborts torch 2.7.
    for device in ("cpu", "cuda") if torch.cuda.is_available() or TORCH >= (2, 11) else ("cpu",):
        with FakeTensorMode(), torch.device(device):
            block = build(name)
            y = block(torch.empty(2, CHANNELS, 13, 17).to(memory_format=torch.channels_last))
        assert y.shape == expected
        assert y.device.type == device
        # On torch 2.11, group norm of a fake GPU tensor says that its result is NCHW.
        if name not in ("tdb-group", "irb-group") or device == "cpu" or TORCH > (2, 11):
            assert y.is_contiguous(memory_format=torch.channels_last)
    with torch.device("meta"):
        block = build(name)
        assert block(torch.empty(2, CHANNELS, 13, 17)).shape == expected


@pytest.mark.parametrize("name", ["silu", "gelu", "relu", "hard_swish"])
def test_activations(name):
    x = torch.randn(2, 3, 4, 5)
    expected = {
        "silu": x / (1 + (-x).exp()),
        "gelu": x * (1 + torch.erf(x / 2**0.5)) / 2,
        "relu": x * (x > 0),
        "hard_swish": x * ((x + 3) / 6).clamp(0, 1),
    }
    torch.testing.assert_close(build_block({"type": name}, 3)(x), expected[name])


@pytest.mark.parametrize("name", ALL)
def test_deep_copy_owns_its_parameters(name):
    block = randomized(build(name))
    other = copy.deepcopy(block)
    x = torch.randn(1, CHANNELS, 8, 8)
    with torch.no_grad():
        before = other(x)
        for parameter in block.parameters():
            parameter.zero_()
        torch.testing.assert_close(other(x), before)


@pytest.mark.parametrize("name", ["transformer", "transcnn"])
def test_drop_path_drops_whole_images_in_training_only(name):
    block = randomized(build_block({**SAME[name], "drop_path": 0.5}, CHANNELS)).train()
    x = torch.randn(64, CHANNELS, 4, 4)
    if name == "transcnn":
        for module in block.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
    with torch.no_grad():
        untouched = (block(x) == x).flatten(1).all(1).float().mean()
        assert 0.05 < untouched < 0.5
        block.eval()
        assert not (block(x) == x).flatten(1).all(1).any()


def test_channel_dropout_is_on_the_output():
    block = randomized(build_block({**SAME["pooled"], "drop": 0.5}, CHANNELS)).train()
    with torch.no_grad():
        y = block(torch.randn(8, CHANNELS, 7, 7))
    zero = (y == 0).flatten(2)
    assert torch.equal(zero.all(2), zero.any(2))
    assert 0.3 < zero.all(2).float().mean() < 0.7


@pytest.mark.parametrize("name", ["hmhsa-list", "hmhsa-batch", "pooled", "pooled-batch"])
def test_a_large_batch_is_the_same_image_by_image(name):
    block = randomized(build(name, (64, 64)))
    x = torch.randn(9, CHANNELS, 64, 64)  # 256 KiB an image: four are run at a time
    with torch.no_grad():
        y = block(x)
        assert y.shape == x.shape
        torch.testing.assert_close(y, torch.cat([block(image) for image in x.split(1)]), atol=1e-5, rtol=1e-5)
        last = block(x.to(memory_format=torch.channels_last))
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last, y, atol=1e-5, rtol=1e-5)
