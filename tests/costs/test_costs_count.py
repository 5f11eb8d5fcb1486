"""Counts against closed forms, known networks and their own rows."""

from __future__ import annotations

import copy
import logging

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from cost_nets import Attention, Call, assert_rows_add_up
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hmhsa_insert.costs.count import count
from hmhsa_insert.costs.memory import training_memory
from hmhsa_insert.errors import ModelError


@settings(deadline=None, max_examples=25)
@given(
    groups=st.sampled_from([1, 2, 4]),
    width=st.integers(1, 4),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    height=st.integers(3, 9),
    bias=st.booleans(),
    transposed=st.booleans(),
    batch=st.integers(1, 3),
)
def test_convolution(groups, width, kernel, stride, height, bias, transposed, batch):
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    conv = kind(4, 4 * width, kernel, stride, groups=groups, bias=bias)
    out = conv(torch.zeros(batch, 4, height, 7))
    # A transposed convolution spreads every input pixel; a plain one gathers for every output pixel.
    places = batch * height * 7 if transposed else out.numel() // (4 * width)
    macs = places * 4 * 4 * width * kernel**2 // groups
    counts = count(conv, (4, height, 7), batch)
    assert (counts.macs, counts.flops) == (macs, 2 * macs)
    assert counts.macs_modules_only == macs + (out.numel() if bias else 0)
    assert counts.activations == out.numel()
    assert counts.num_params == sum(p.numel() for p in conv.parameters())
    assert not counts.unknown_ops


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", [(0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2)])
def test_linear_on_any_layout(layout, bias):
    """`F.linear` adds its bias in another operation on inputs that are not contiguous."""
    size = (4, 4, 4)
    linear = Call(lambda m, x: m.linear(x.permute(layout)))
    linear.linear = nn.Linear(4, 5, bias)
    counts = count(linear, size, batch=2)
    assert counts.macs == 2 * 16 * 4 * 5
    assert counts.macs_modules_only == counts.macs + (2 * 16 * 5 if bias else 0)
    assert counts.activations == 2 * 16 * 5


def test_linear_on_convolution_weights():
    """Blocks that hold 1×1 convolutions and run them on tokens count as the convolutions they are."""
    conv = nn.Conv2d(6, 8, 1)
    tokens = Call(lambda m, x: F.linear(x.flatten(2).transpose(1, 2), m.weight.flatten(1), m.bias))
    tokens.register_parameter("weight", conv.weight)
    tokens.register_parameter("bias", conv.bias)
    assert (
        count(tokens, (6, 5, 5)).macs_modules_only
        == count(conv, (6, 5, 5)).macs_modules_only
        == 25 * (48 + 8)
    )


@settings(deadline=None, max_examples=15)
@given(channels=st.integers(1, 9), height=st.integers(1, 5), width=st.integers(1, 5), batch=st.integers(1, 3))
def test_attention_counts_the_same_written_out_and_fused(channels, height, width, batch):
    size, tokens = (channels, height, width), height * width
    written, fused = (count(Attention(fused), size, batch) for fused in (False, True))
    assert written.macs == fused.macs == batch * 2 * tokens**2 * channels
    assert written.activations == fused.activations == batch * (tokens**2 + tokens * channels)
    assert written.macs_modules_only == fused.macs_modules_only == 0


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
def test_attention_of_few_queries_to_many_keys(backend):
    def run(module, x):
        tokens = x.flatten(2).transpose(1, 2).unsqueeze(1).contiguous()
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(tokens[:, :, :3], tokens, tokens)

    counts = count(Call(run), (5, 2, 4))
    # 3 queries, 8 keys and values of 5 channels: 3·8 scores of 5 products each, then 3·5 sums of 8.
    assert counts.macs == 2 * 3 * 8 * 5
    assert counts.activations == 3 * 8 + 3 * 5


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_multihead_attention(weights, frozen):
    """In eval mode without gradients torch would take a fast path that no counter has a formula for."""
    attention = nn.MultiheadAttention(12, 3, batch_first=True).requires_grad_(not frozen)
    model = Call(lambda m, x: m.attention(*[x.flatten(2).transpose(1, 2)] * 3, need_weights=weights))
    model.attention = attention
    counts = count(model, (12, 4, 5))
    tokens = 20
    projections = 4 * tokens * 12 * 12
    assert counts.macs == projections + 2 * tokens**2 * 12
    assert counts.macs_modules_only == projections + 4 * tokens * 12
    assert counts.num_trainable == (0 if frozen else counts.num_params)
    assert not counts.unknown_ops


@pytest.mark.parametrize(
    ("function", "macs"),
    [
        (lambda m, x: torch.bmm(x[0], x[0].transpose(1, 2)), 4 * 6 * 6 * 6),
        (lambda m, x: torch.baddbmm(torch.zeros(1), x[0], x[0]), 4 * 6 * 6 * 6),
        (lambda m, x: torch.einsum("bchw,bdhw->bcd", x, x), 4 * 4 * 36),
        (lambda m, x: x[0, 0] @ x[0, 0, 0], 36),
        (lambda m, x: x.flatten() @ x.flatten(), 144),
        (lambda m, x: torch.addmv(x[0, 0, 0], x[0, 0], x[0, 0, 0]), 36),
        (lambda m, x: F.linear(x.flatten(), m.w), 144 * 3),
    ],
)
def test_products(function, macs):
    model = Call(function, w=torch.zeros(3, 144))
    assert count(model, (4, 6, 6)).macs == macs


# Parameters, multiply–accumulates at 224: torchvision's documentation (resnet18 1.81, resnet50 4.09,
# mobilenet_v2 0.30 GMAC) and timm's models of the same structure.
KNOWN = {
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet50": (25_557_032, 4_089_184_256),
    "mobilenetv2_100": (3_504_872, 300_774_272),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_networks(name):
    theirs = {"mobilenetv2_100": "mobilenet_v2"}.get(name, name)
    for model in (timm.create_model(name), torchvision.models.get_model(theirs)):
        counts = count(model)
        assert (counts.num_params, counts.macs) == KNOWN[name]
        # Their convolutions have no bias; the classifier has 1000.
        assert counts.macs_modules_only == counts.macs + 1000
        assert not counts.unknown_ops
        assert_rows_add_up(counts)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "resnet10t", "botnet26t_256"])
def test_equals_the_flop_counter_on_a_real_run(name):
    model = timm.create_model(name).eval()
    size = model.default_cfg["input_size"]
    # Written out, attention is two products: torch 2.11 counts no fused one on a CPU.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *size))
    counts = count(model, size)
    assert counts.flops == counter.get_total_flops()
    assert_rows_add_up(counts)


def test_counts_follow_batch_and_size():
    model = timm.create_model("resnet18")
    one = count(model, (3, 64, 64))
    assert count(model, (3, 64, 64), batch=3).macs == 3 * one.macs
    assert count(model, (3, 128, 64)).macs - 512_000 == 2 * (one.macs - 512_000)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(dtype):
    model = timm.create_model("resnet10t")
    assert count(copy.deepcopy(model).to(dtype), (3, 64, 64)) == count(model, (3, 64, 64))


def test_other_outputs():
    model = Call(lambda m, x: {"out": [m.conv(x)], "aux": None, "size": x.shape})
    model.conv = nn.Conv2d(3, 4, 1)
    assert count(model, (3, 4, 4)).macs == 16 * 12


def test_meta_models_count_without_memory():
    with torch.device("meta"):
        model = timm.create_model("resnet18")
    assert count(model).macs == KNOWN["resnet18"][1]


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_untouched(training):
    model = timm.create_model("resnet10t").train(training)
    model.layer1.register_forward_hook(lambda module, args, output: None)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    tensors = {key: id(value) for key, value in model.state_dict(keep_vars=True).items()}
    generator = torch.get_rng_state()
    fast = torch.backends.mha.get_fastpath_enabled()
    count(model, (3, 64, 64))
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert tensors == {key: id(value) for key, value in model.state_dict(keep_vars=True).items()}
    assert all(module.training is training for module in model.modules())
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert sum(hooks) == 1
    assert torch.equal(generator, torch.get_rng_state())
    assert torch.backends.mha.get_fastpath_enabled() is fast
    assert not any(isinstance(t, FakeTensor) for t in (*model.parameters(), *model.buffers()))
    assert all(p.grad is None for p in model.parameters())


def test_operations_without_a_formula_are_listed():
    model = Call(lambda m, x: (torch.fft.rfft2(x), torch.cdist(x, x), F.relu(x).sum(), x.clone()))
    unknown = count(model, (2, 4, 4)).unknown_ops
    assert any("fft" in name for name in unknown)
    assert any("cdist" in name for name in unknown)
    assert len(unknown) == 2


def test_a_deformable_convolution_is_counted():
    def run(module, x):
        return torchvision.ops.deform_conv2d(x, torch.zeros(1, 18, 4, 4), module.w)

    counts = count(Call(run, w=torch.zeros(2, 3, 3, 3)), (3, 6, 6))
    assert counts.unknown_ops == ()
    assert counts.macs == 2 * 4 * 4 * 3 * 9


@pytest.mark.parametrize("measure", [count, lambda model, size: training_memory(model, size)])
def test_what_torch_logs_of_a_failure_is_no_part_of_the_error(measure, caplog):
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    logger.addHandler(caplog.handler)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    with pytest.raises(ModelError, match="cannot run on an input of 3×64×64"):
        measure(model, (3, 64, 64))
    logger.removeHandler(caplog.handler)
    assert not caplog.records
    assert not logger.disabled


def test_models_that_cannot_run_or_be_copied():
    with pytest.raises(ModelError, match=r"ResNet: cannot run on an input of 4×64×64: .*channels"):
        count(timm.create_model("resnet10t"), (4, 64, 64))
    model = Call(lambda m, x: x)
    model.stream = (n for n in range(3))
    with pytest.raises(ModelError, match=r"Call: cannot be copied: .*generator"):
        count(model)
