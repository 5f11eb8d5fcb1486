"""Bytes saved for backward, against nets that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hmhsa_insert.costs.fake import real_copy
from hmhsa_insert.costs.memory import (
    MemoryRecord,
    PeakMemory,
    _saved,
    cuda_peak,
    largest_batch,
    training_memory,
)
from hmhsa_insert.costs.steps import Setting
from hmhsa_insert.errors import ModelError
from hmhsa_insert.surgery.base.inputs import Inputs


class Linears(nn.Module):
    """Three linear layers on flat images, with a non-linearity between them."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.first = nn.Linear(48, 10, bias=False)
        self.second = nn.Linear(10, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.function(self.first(x.flatten(1))))


def test_a_net_by_hand():
    record = training_memory(Linears(torch.relu), (3, 4, 4), batch=5)
    # The first layer keeps the image; relu and the second layer keep the same storage, relu's output.
    assert record.by_module == {"first": 5 * 48 * 4, "": 5 * 10 * 4}
    assert record.saved_bytes == 5 * (48 + 10) * 4
    assert record.saved_bytes_per_image == (48 + 10) * 4
    assert record.param_bytes == (480 + 70 + 7) * 4
    assert (record.buffer_bytes, record.computed, record.batch) == (0, False, 5)


def test_a_smooth_activation_keeps_its_input_too():
    relu, silu, gelu = (training_memory(Linears(f), (3, 4, 4)) for f in (torch.relu, F.silu, F.gelu))
    assert silu.saved_bytes == gelu.saved_bytes == relu.saved_bytes + 2 * 10 * 4


def test_views_and_repeated_saves_count_once():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return (x.permute(0, 2, 3, 1) * self.weight) + (
                x[:, :, :2].permute(0, 2, 3, 1) * self.weight
            ).sum()

    assert training_memory(Twice(), (4, 6, 6), batch=3).saved_bytes == 3 * 4 * 36 * 4


def test_parameters_and_buffers_do_not_count():
    norm = nn.BatchNorm2d(8)
    record = training_memory(norm, (8, 5, 5), batch=2)
    # The image, and mean and inverse deviation of the batch; not weight, bias or the running statistics.
    assert record.saved_bytes == 2 * 8 * 25 * 4 + 2 * 8 * 4
    assert record.buffer_bytes == 2 * 8 * 4 + 8


def test_frozen_layers_save_nothing():
    record = training_memory(Linears(torch.relu).requires_grad_(False), (3, 4, 4))
    assert (record.saved_bytes, record.trainable_bytes) == (0, 0)
    assert record.param_bytes > 0


def test_checkpointing_keeps_only_the_input():
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 1)
            self.body = nn.Sequential(nn.Conv2d(4, 4, 1), nn.SiLU(), nn.Conv2d(4, 4, 1), nn.SiLU())

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.body, self.stem(x), use_reentrant=False)

    assert training_memory(Checkpointed(), (3, 8, 8), batch=2).saved_bytes == 2 * (3 + 4) * 64 * 4


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv2_035", "test_vit", "test_convnext"])
def test_fake_equals_real(name):
    model = timm.create_model(name)
    size = model.default_cfg["input_size"]
    record = training_memory(model, size)
    assert record.by_module == _saved(real_copy(model), Inputs.of(size), 2, None)
    assert sum(record.by_module.values()) == record.saved_bytes
    assert record.under("") == record.saved_bytes


def test_half_precision_halves():
    model = Linears(F.silu)
    full, half = (training_memory(model, (3, 4, 4), dtype=dtype) for dtype in (None, torch.bfloat16))
    assert full.saved_bytes == 2 * half.saved_bytes
    assert full.param_bytes == 2 * half.param_bytes
    assert all(p.dtype == torch.float32 for p in model.parameters())


class Reads(nn.Module):
    """Reads a value on the way, which fake tensors do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(48, 4)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        out = self.linear(x.flatten(1))
        return out * 2 if float(out.detach().sum().item()) > 1e9 else out


@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_models_that_read_values_are_run(dtype):
    model = Reads()
    before = model.linear.weight.clone()
    record = training_memory(model, (3, 4, 4), dtype=dtype)
    assert record.computed
    assert record.saved_bytes == 2 * 48 * (8 if dtype else 4)
    assert model.seen == 0
    assert model.linear.weight.dtype == torch.float32
    assert torch.equal(model.linear.weight, before)


def test_the_model_is_untouched():
    model = timm.create_model("resnet10t").eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    training_memory(model, (3, 64, 64))
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.equal(generator, torch.get_rng_state())


def test_models_that_cannot_run():
    with pytest.raises(ModelError, match="Linears: cannot run on an input of 3×5×5"):
        training_memory(Linears(torch.relu), (3, 5, 5))


RECORD = MemoryRecord(
    input_size=(3, 4, 4),
    batch=2,
    saved_bytes=2 * 2**20,
    param_bytes=100 * 2**20,
    trainable_bytes=100 * 2**20,
    buffer_bytes=24 * 2**20,
    computed=False,
    by_module={"": 2 * 2**20},
)


def test_largest_batch():
    # 1024 MiB less 100 of weights, 24 of buffers, 100 of gradients and 200 of Adam's state, at 1 MiB an image.
    assert largest_batch(RECORD, 1.0) == 600
    assert largest_batch(RECORD, 1.0, optimizer_states=0) == 800
    assert largest_batch(RECORD, 0.25) == 0
    # Frozen, half of the weights have neither gradients nor state: 1024 less 100, 24 and 3·50.
    assert largest_batch(replace(RECORD, trainable_bytes=50 * 2**20), 1.0) == 750
    peak = PeakMemory(allocated=(424 + 8) * 2**20, reserved=2**30)
    assert largest_batch(replace(RECORD, peak=peak), 1.0) == 150


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_peak_is_at_least_what_is_kept():
    model = timm.create_model("resnet18")
    record = training_memory(model, (3, 128, 128), batch=8)
    peak = cuda_peak(model, (3, 128, 128), 8, Setting(device="cuda"))
    kept = record.saved_bytes + record.param_bytes + 3 * record.trainable_bytes
    assert 0.9 * kept < peak.allocated <= peak.reserved
    assert next(model.parameters()).device.type == "cpu"
