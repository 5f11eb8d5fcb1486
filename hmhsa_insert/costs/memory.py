"""What a training step keeps in memory.

The forward pass of a training step saves tensors for the backward pass; together with weights, gradients and
optimizer state they decide the batch that fits. They are counted here as autograd saves them
(`torch.autograd.graph.saved_tensors_hooks`), on fake tensors, so a laptop can say what a large batch would
need.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hmhsa_insert.costs.fake import ModuleStack, cannot_run, fake_copy, home, real_copy
from hmhsa_insert.costs.steps import Setting, prepare
from hmhsa_insert.surgery.base.inputs import Inputs, InputSize
from hmhsa_insert.torch_private import FakeTensorMode, unlogged

GIB = 2**30


@dataclass(frozen=True)
class PeakMemory:
    """What the CUDA allocator reports for one training step after optimizer warm-up, in bytes.

    Attributes:
        allocated: the most that tensors took at one time (`torch.cuda.max_memory_allocated`).
        reserved: the most that the allocator held from the device (`torch.cuda.max_memory_reserved`).
    """

    allocated: int
    reserved: int


@dataclass(frozen=True)
class MemoryRecord:
    """What a training step at one batch keeps in memory.

    Attributes:
        input_size: C, H, W of one image.
        batch: images in the step.
        saved_bytes: bytes saved for the backward pass, for the whole batch: each storage once, parameters and
            buffers left out, the input image included. The loss is not part of it.
        param_bytes: bytes of the parameters.
        trainable_bytes: bytes of those that require a gradient.
        buffer_bytes: bytes of the buffers.
        computed: False where the bytes come from fake tensors; True where the model had to be run.
        by_module: saved bytes by the module that saved them first; they add up to `saved_bytes`.
        peak: what CUDA reports for a real step; None when not measured.
    """

    input_size: tuple[int, int, int]
    batch: int
    saved_bytes: int
    param_bytes: int
    trainable_bytes: int
    buffer_bytes: int
    computed: bool
    by_module: dict[str, int] = field(repr=False)
    peak: PeakMemory | None = None

    @property
    def saved_bytes_per_image(self) -> float:
        """`saved_bytes` divided by the batch."""
        return self.saved_bytes / self.batch

    def under(self, *names: str) -> int:
        """Return the bytes that the modules `names` and all below them save, each module once."""
        return sum(
            saved
            for module, saved in self.by_module.items()
            if any(not name or module == name or module.startswith(f"{name}.") for name in names)
        )


def training_memory(
    model: nn.Module,
    input_size: InputSize = (3, 224, 224),
    batch: int = 2,
    *,
    dtype: torch.dtype | None = None,
) -> MemoryRecord:
    """Return what one training step of `model` keeps in memory. The model is not touched.

    Args:
        model: any module.
        input_size: C, H, W of one image, or more, see :meth:`Inputs.of`.
        batch: samples in the step, if the inputs have no batch of their own; at least 2, because batch norm over one
            value cannot be trained.
        dtype: the floating dtype of weights and images; by default the model's own.

    Raises:
        ModelError: when the model cannot be copied, or cannot run at this size in train mode.
    """
    inputs = Inputs.of(input_size)
    batch = inputs.batch or batch
    hollow, mode = fake_copy(model, dtype=dtype)
    computed = False
    try:
        with unlogged():
            by_module = _saved(hollow, inputs, batch, mode)
    except Exception:
        # A forward that reads values (a loop until convergence, a boolean index) cannot run on fake tensors.
        computed = True
        by_module = _saved_computed(model, inputs, batch, dtype)
    parameters = list(hollow.parameters())
    return MemoryRecord(
        input_size=inputs.image_size,
        batch=batch,
        saved_bytes=sum(by_module.values()),
        param_bytes=sum(p.nbytes for p in parameters),
        trainable_bytes=sum(p.nbytes for p in parameters if p.requires_grad),
        buffer_bytes=sum(b.nbytes for b in hollow.buffers()),
        computed=computed,
        by_module=by_module,
    )


def cuda_peak(
    model: nn.Module, input_size: InputSize, batch: int, setting: Setting, *, warmup: int = 3
) -> PeakMemory:
    """Return the peak memory of one real training step on a CUDA device.

    The optimizer makes its state in its first step, so the peak is read over a step after the warm-up. What
    other tensors of this process held before is subtracted. The model is not touched; a copy is trained.

    Args:
        model: any module.
        input_size: C, H, W of one image, or more, see :meth:`Inputs.of`.
        batch: samples in the step, if the inputs have no batch of their own.
        setting: a CUDA device, dtype, memory format, compilation.
        warmup: steps before the one that is measured.

    Raises:
        ModelError: when the model cannot be copied or run, or does not fit.
    """
    device = torch.device(setting.device)
    torch.cuda.empty_cache()
    allocated, reserved = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    step = prepare(model, "training", input_size, batch, setting)
    try:
        for _ in range(warmup):
            step()
        torch.cuda.reset_peak_memory_stats(device)
        step()
        torch.cuda.synchronize(device)
    except Exception as error:
        raise cannot_run(model, Inputs.of(input_size), error) from error
    return PeakMemory(
        allocated=torch.cuda.max_memory_allocated(device) - allocated,
        reserved=torch.cuda.max_memory_reserved(device) - reserved,
    )


def largest_batch(record: MemoryRecord, gib: float, *, optimizer_states: int = 2) -> int:
    """Return the largest batch whose training step fits into `gib` × 2³⁰ bytes; 0 when none does.

    From `record.peak` where there is one; otherwise weights, buffers, gradients and optimizer state plus what
    is saved for backward. The latter leaves out workspaces and the gradients of activations, so it is an
    upper bound.

    Args:
        record: of the model at any batch.
        gib: the memory there is.
        optimizer_states: tensors an optimizer keeps per trainable parameter: 2 for Adam, 1 for momentum, 0
            for SGD.
    """
    fixed = record.param_bytes + record.buffer_bytes + (1 + optimizer_states) * record.trainable_bytes
    per_image = record.saved_bytes_per_image
    if record.peak is not None:
        per_image = max(record.peak.allocated - fixed, 1) / record.batch
    return max(0, int((gib * GIB - fixed) // per_image)) if per_image else 0


def _saved_computed(
    model: nn.Module, inputs: Inputs, batch: int, dtype: torch.dtype | None
) -> dict[str, int]:
    try:
        return _saved(real_copy(model, dtype=dtype), inputs, batch, None)
    except Exception as error:
        raise cannot_run(model, inputs, error) from error


def _saved(copied: nn.Module, inputs: Inputs, batch: int, mode: FakeTensorMode | None) -> dict[str, int]:
    """Return the bytes each module of a copy saves for backward in train mode."""
    copied.train()
    own = {t.untyped_storage()._cdata for t in (*copied.parameters(), *copied.buffers())}
    # Held until the end: a freed storage could come back under the same identity and be missed.
    storages: dict[int, torch.UntypedStorage] = {}
    by_module: dict[str, int] = {}
    stack = ModuleStack(copied)

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own and storage._cdata not in storages:
            storages[storage._cdata] = storage
            by_module[stack.innermost] = by_module.get(stack.innermost, 0) + storage.nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with torch.random.fork_rng(), torch.enable_grad(), mode or contextlib.nullcontext(), stack, hooks:
        args, kwargs = (inputs.empty if mode else inputs.drawn)(*home(copied), batch)
        copied(*args, **kwargs)
    return by_module
