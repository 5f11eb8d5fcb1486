"""``memory: lean``: keep less for the backward pass, and compute it again when that pass comes.

The input of a piece is kept and its inside is not. What is computed again ends with the last thing that the backward
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
    """A module that can save memory in training.

    Attributes:
        lean: whether it does. It is no part of the state: it changes neither outputs nor gradients.
    """

    lean: bool = False

    def recomputed(
        self, piece: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, is_random: bool = False
    ) -> torch.Tensor:
        """Return ``piece(x)``; with `lean`, what the backward pass needs of it is computed again there.

        Args:
            piece: a part of this module's forward.
            x: what goes in.
            is_random: whether it draws random numbers, which then are the same again.
        """
        if not (self.lean and torch.is_grad_enabled()):
            return piece(x)
        counts = [module for module in self.modules() if isinstance(module, _BatchNorm) and module.training]
        out: torch.Tensor
        if torch.compiler.is_compiling():
            # A compiled piece cannot be told to leave running statistics alone; the compiler itself then decides.
            out = piece(x) if counts else checkpoint(piece, x, use_reentrant=False)
            return out

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _statistics_kept(counts)

        out = checkpoint(piece, x, use_reentrant=False, preserve_rng_state=is_random, context_fn=contexts)
        return out


def set_lean(model: nn.Module, lean: bool = True) -> nn.Module:
    """Switch every :class:`Lean` module in `model`, and return `model`."""
    for module in model.modules():
        if isinstance(module, Lean):
            module.lean = lean
    return model


@contextmanager
def _statistics_kept(norms: list[_BatchNorm]) -> Iterator[None]:
    """Lend the norms copies of their running statistics: the forward pass has counted this batch."""
    kept = [dict(norm.named_buffers(recurse=False)) for norm in norms]
    try:
        for norm, buffers in zip(norms, kept, strict=True):
            norm._buffers.update({name: buffer.clone() for name, buffer in buffers.items()})
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            norm._buffers.update(buffers)
