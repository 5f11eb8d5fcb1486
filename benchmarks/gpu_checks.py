"""What has to be right on a device before anything is timed there: the first section of `gpu.py`.

Every check returns a sentence about what it found, or raises: an assertion says what is wrong, a `Skipped` why the
device cannot be asked. The table `CHECKS` at the end is what is run.
"""

from __future__ import annotations

import copy
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import hmhsa_insert as hi
from hmhsa_insert.blocks.lean import set_lean

# A block of each kind that computes attention, and those beside it; small, because what is asked does not depend on it.
SPECS: dict[str, dict[str, object]] = {
    "hmhsa": {"type": "hmhsa", "head_dim": 16},
    "hmhsa_pooled": {"type": "hmhsa_pooled", "head_dim": 16},
    "mhsa": {"type": "mhsa", "head_dim": 16},
    "transformer": {"type": "transformer", "head_dim": 16},
    "transcnn": {"type": "transcnn", "head_dim": 16},
    "irb": {"type": "irb"},
}
CHANNELS, SIDE = 64, 30
LARGE = 1e4  # activations of this size overflow half precision as soon as they are squared
MANY_WINDOWS = 65_536  # one more than CUDA's grids have along their second and third axis


class Skipped(Exception):
    """The device cannot be asked this."""


@dataclass(frozen=True)
class Where:
    """Where and how much: `device` is "cuda" or "cpu", `quick` asks for the smallest work that still runs it all."""

    device: str
    quick: bool = False

    @property
    def on_gpu(self) -> bool:
        """True on a GPU."""
        return self.device.startswith("cuda")

    def wait(self) -> None:
        """Wait until everything launched is done."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)


def blocks(where: Where) -> Iterator[tuple[str, nn.Module]]:
    """Yield one block of each kind, on the device, with weights of their own."""
    for name, spec in SPECS.items():
        torch.manual_seed(0)
        yield name, hi.build_block(spec, CHANNELS, SIDE).to(where.device)


def image(where: Where, *size: int, scale: float = 1.0) -> Tensor:
    """Return drawn numbers, the same on every device."""
    return scale * torch.randn(size, generator=torch.Generator().manual_seed(0)).to(where.device)


def close(got: Tensor, wanted: Tensor, tolerance: float, what: str) -> float:
    """Return the largest difference relative to the largest number; an assertion fails if it is too large."""
    error = float((got.float() - wanted.float()).abs().max() / wanted.float().abs().max().clamp_min(1e-12))
    assert error <= tolerance, f"{what}: differs by {error:.1e} of the largest number, allowed {tolerance:g}"
    return error


@contextmanager
def repeatable() -> Iterator[None]:
    """Choose convolution algorithms that give the same bits every time."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


def identity(where: Where) -> str:
    """Insertion changes no bit of the outputs in float32, and the whole verification passes on the device."""
    names = ("resnet18",) if where.quick else ("resnet18", "mobilenetv2_100", "convnext_tiny")
    size = 64 if where.quick else 224
    with repeatable():
        for name in names:
            base = timm.create_model(name).eval().to(where.device)
            edited = hi.apply(base, "stage3.yaml", input_size=size)
            x = image(where, 2, 3, size, size)
            with torch.no_grad():
                assert torch.equal(base(x), edited(x)), f"{name}: outputs change with gamma at zero"
            found = hi.verify(base, edited, gradients=not where.quick)
            failed = [check for check in found if not check.passed]
            assert not failed, f"{name}: {failed[0].name}: {failed[0].detail}"
    return f"{', '.join(names)}: every bit equal, verified"


def half_precision(where: Where) -> str:
    """Blocks in bf16 and fp16, cast and under autocast, give finite numbers at activations of 1e4."""
    dtypes = (torch.bfloat16, torch.float16)
    for name, block in blocks(where):
        x = image(where, 2, CHANNELS, SIDE, SIDE, scale=LARGE)
        for dtype in dtypes:
            with torch.no_grad():
                cast = copy.deepcopy(block).to(dtype)(x.to(dtype))
                assert bool(cast.isfinite().all()), f"{name} in {dtype}: not finite"
                with torch.autocast(where.device, dtype):
                    assert bool(block(x).isfinite().all()), f"{name} under autocast to {dtype}: not finite"
    return f"{len(SPECS)} blocks finite in bf16 and fp16, cast and under autocast"


def channels_last(where: Where) -> str:
    """Channels-last maps come out channels-last, with the numbers of contiguous ones."""
    worst = 0.0
    for name, block in blocks(where):
        x = image(where, 2, CHANNELS, SIDE, SIDE)
        with torch.no_grad():
            wanted = block.eval()(x)
            got = block.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
        worst = max(worst, close(got, wanted, 1e-4, name))
        assert got.is_contiguous(memory_format=torch.channels_last), f"{name}: another memory format"
    return f"{len(SPECS)} blocks, largest difference {worst:.1e}"


def compiles(where: Where) -> str:
    """torch.compile takes each block as one graph, trains it, and does not compile again for the same sizes."""
    chosen = list(blocks(where))[: 1 if where.quick else None]
    for name, block in chosen:
        torch._dynamo.reset()
        x = image(where, 2, CHANNELS, SIDE, SIDE).requires_grad_()
        wanted = block(x).detach()
        run = torch.compile(block, fullgraph=True)
        close(run(x).detach(), wanted, 1e-3, f"{name} compiled")
        with torch._dynamo.config.patch(error_on_recompile=True):
            for _ in range(3):
                run(x).square().mean().backward()
                block.zero_grad(set_to_none=True)
    torch._dynamo.reset()
    return f"{len(chosen)} blocks: one graph each, no second compilation"


def cuda_graphs(where: Where) -> str:
    """A captured CUDA graph of each block replays with new inputs and gives what the block gives."""
    if not where.on_gpu:
        raise Skipped("CUDA graphs need a GPU")
    worst = 0.0
    for name, block in blocks(where):
        block.eval()
        held, other = image(where, 2, CHANNELS, SIDE, SIDE), image(where, 2, CHANNELS, SIDE, SIDE).flip(-1)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.no_grad(), torch.cuda.stream(side):
            for _ in range(3):
                block(held)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.no_grad(), torch.cuda.graph(graph):
            out = block(held)
        held.copy_(other)
        graph.replay()
        where.wait()
        with torch.no_grad():
            worst = max(worst, close(out, block(other), 1e-5, name))
    return f"{len(SPECS)} blocks captured and replayed, largest difference {worst:.1e}"


def lean(where: Where) -> str:
    """Lean blocks give the gradients of fast ones."""
    worst = 0.0
    for name, block in blocks(where):
        x = image(where, 2, CHANNELS, SIDE, SIDE)
        grads = []
        for on in (False, True):
            made = set_lean(copy.deepcopy(block).train(), on)
            given = x.clone().requires_grad_()
            made(given).square().mean().backward()
            grads.append([given.grad, *(p.grad for p in made.parameters())])
        for fast, saved in zip(*grads, strict=True):
            assert fast is not None, f"{name}: no gradient"
            assert saved is not None, f"{name} lean: no gradient"
            worst = max(worst, close(saved, fast, 1e-3, name)) if bool(fast.any()) else worst
    return f"{len(SPECS)} blocks, largest difference {worst:.1e}"


def one_process(where: Where) -> str:
    """DistributedDataParallel of one process gives the gradients of the network alone."""
    backend = "nccl" if where.on_gpu else "gloo"
    if not dist.is_available() or (where.on_gpu and not dist.is_nccl_available()):
        raise Skipped(f"this torch has no {backend}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group(backend, rank=0, world_size=1)
    try:
        worst = 0.0
        edited = hi.apply(timm.create_model("test_resnet", num_classes=10), "stage3.yaml", input_size=64)
        alone, shared = edited.to(where.device).train(), copy.deepcopy(edited).to(where.device).train()
        wrapped = DistributedDataParallel(shared)
        x = image(where, 4, 3, 64, 64)
        for run in (alone, wrapped):
            run(x).square().mean().backward()
        for one, other in zip(alone.parameters(), shared.parameters(), strict=True):
            if one.grad is not None and bool(one.grad.any()):
                assert other.grad is not None, "no gradient under DistributedDataParallel"
                worst = max(worst, close(other.grad, one.grad, 1e-4, "gradients"))
    finally:
        dist.destroy_process_group()
    return f"{backend}, largest difference {worst:.1e}"


def save_and_load(where: Where) -> str:
    """An artifact that was saved from the device loads on the CPU and back, with the outputs of the device."""
    edited = hi.apply(timm.create_model("test_resnet", num_classes=10).eval(), "stage3.yaml", input_size=64)
    for parameter in edited.parameters():
        parameter.data.add_(0.01)
    edited = edited.to(where.device)
    x = image(where, 2, 3, 64, 64)
    with tempfile.TemporaryDirectory() as scratch, torch.no_grad(), repeatable():
        loaded = hi.load(hi.save(edited, Path(scratch) / "edited"))
        kinds = {parameter.device.type for parameter in loaded.parameters()}
        assert kinds == {"cpu"}, f"loaded on {kinds}"
        across = close(loaded(x.cpu()), edited(x).cpu(), 1e-3, "on the CPU")
        assert torch.equal(loaded.to(where.device)(x), edited(x)), "other bits on the device"
    return f"equal on the device, {across:.1e} on the CPU"


def many_windows(where: Where) -> str:
    """More windows than CUDA's grids have places, forward and backward, against the CPU."""
    side = 2 * int(MANY_WINDOWS**0.5)
    worst = 0.0
    for spec in (
        {"type": "hmhsa", "head_dim": 8, "grids": [2, 8, 8]},
        {"type": "hmhsa_pooled", "grid_size": 2, "pool": 64},
    ):
        torch.manual_seed(0)
        block = hi.build_block({"head_dim": 8, **spec}, 8, side)
        x = torch.randn(1 if where.quick else 2, 8, side, side, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            wanted = block(x)
            got = copy.deepcopy(block).to(where.device)(x.to(where.device)).cpu()
        worst = max(worst, close(got, wanted, 1e-3, str(spec["type"])))
        if not where.quick:
            given = x.to(where.device).requires_grad_()
            copy.deepcopy(block).to(where.device)(given).square().mean().backward()
            assert given.grad is not None, f"{spec['type']}: no gradient"
            assert bool(given.grad.isfinite().all()), f"{spec['type']}: a gradient is not finite"
    return f"{MANY_WINDOWS:,} windows an image, largest difference {worst:.1e}"


CHECKS: dict[str, Callable[[Where], str]] = {
    "identity in float32": identity,
    "half precision at 1e4": half_precision,
    "channels_last": channels_last,
    "torch.compile": compiles,
    "CUDA graphs": cuda_graphs,
    "lean": lean,
    "DDP of one process": one_process,
    "save and load": save_and_load,
    "65,536 windows": many_windows,
}
