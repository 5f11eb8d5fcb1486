"""``memory: lean``: activation checkpointing, which keeps less for the backward pass and recomputes it there.

The input of a piece is kept and its inside is not. Recomputation ends with the last value that the backward
pass needs, so the projection at the end of a piece runs once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class Lean(nn.Module):
    """Base class of modules that can save memory in training by recomputing activations.

    Attributes:
        lean: whether they do. It changes neither outputs nor gradients, so it is not part of the state.
    """

    lean: bool = False

    def recomputed(
        self, piece: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, is_random: bool = False
    ) -> torch.Tensor:
        """Return ``piece(x)``; with `lean`, its activations are recomputed in the backward pass.

        Args:
            piece: a part of this module's forward.
            x: the input of the piece.
            is_random: whether the piece draws random numbers; the recomputation then draws the same ones.
        """
        if not (self.lean and torch.is_grad_enabled()):
            return piece(x)
        # BatchNorm in train mode updates its statistics in every forward: recomputed, it would count a batch
        # twice.
        counts = [module for module in self.modules() if isinstance(module, _BatchNorm) and module.training]
        out: torch.Tensor
        if torch.compiler.is_compiling():
            # Recomputed in compiled code, these norms would update their statistics twice: with them, the
            # compiler alone decides what to keep.
            out = piece(x) if counts else checkpoint(piece, x, use_reentrant=False)
            return out

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _statistics_kept(counts)

        out = checkpoint(piece, x, use_reentrant=False, preserve_rng_state=is_random, context_fn=contexts)
        return out


def set_lean(model: nn.Module, lean: bool = True) -> nn.Module:
    """Set `lean` on every :class:`Lean` module in `model`, and return `model`."""
    for module in model.modules():
        if isinstance(module, Lean):
            module.lean = lean
    return model


@contextmanager
def _statistics_kept(norms: list[_BatchNorm]) -> Iterator[None]:
    """Let the norms update copies of their running statistics: the forward pass has counted this batch."""
    kept = [dict(norm.named_buffers(recurse=False)) for norm in norms]
    try:
        for norm, buffers in zip(norms, kept, strict=True):
            norm._buffers.update({name: buffer.clone() for name, buffer in buffers.items()})
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            norm._buffers.update(buffers)
