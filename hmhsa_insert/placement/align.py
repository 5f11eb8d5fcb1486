"""Align: train a block alone towards the loss's negative gradient, and ask on other batches how near it came.

The first-order change of the loss when a block adds γ⊙f(x) to its map is Σ g⊙γ⊙f(x), with g = ∂L/∂y. So f and γ are
trained for some steps to point along −g, on one half of what was recorded, and scored on the other half:

    cosine = ⟨−g, γ⊙f(x)⟩ / (‖g‖ ‖γ⊙f(x)‖)        gain = cosine · ‖g‖

The cosine is over all numbers of a batch together; both are means over batches. The gain is what the loss would fall by
if the block moved the map by a unit of length. One gradient ∂L/∂γ without training f does not rank placements.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hmhsa_insert.blocks import build_block
from hmhsa_insert.blocks.residual import ResidualBlock
from hmhsa_insert.placement.candidates import Candidate
from hmhsa_insert.placement.record import Recorded

LEARNING_RATE = 2e-3


@dataclass(frozen=True)
class Alignment:
    """How well a block follows the gradients of batches that it was not trained on.

    Attributes:
        cosine: mean over the batches, −1 to 1.
        spread: standard deviation of the cosine over the batches; None with one.
        gain: mean of the cosine times the gradient's norm.
    """

    cosine: float
    spread: float | None
    gain: float


class Branch(nn.Module):
    """γ⊙f(x): what a block in its identity form adds to its map, with γ beginning at one.

    Args:
        candidate: whose block it is.
        seed: of its initial values.
    """

    def __init__(self, candidate: Candidate, seed: int) -> None:
        super().__init__()
        inp = candidate.site.inp
        assert inp is not None
        digest = hashlib.sha256(f"{seed}:{candidate.name}".encode()).digest()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int.from_bytes(digest[:7], "big"))
            block = candidate.site.options or candidate.site.block
            assert block is not None
            self.block = build_block(block, inp.channels, (inp.height, inp.width))
        self.gamma = nn.Parameter(torch.ones(inp.channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return γ⊙f(x), N×C×H×W."""
        f = self.block.branch(x) if isinstance(self.block, ResidualBlock) else self.block(x)
        return self.gamma[:, None, None] * f


def align(candidate: Candidate, recorded: Recorded, steps: int, seed: int, device: torch.device) -> Alignment:
    """Train a candidate's block on the first half of what its place saw, and score it on the rest.

    Args:
        candidate: whose block is trained.
        recorded: at least two batches.
        steps: of the optimizer, Adam; batches are taken in turn.
        seed: of the block's initial values and its dropout.
        device: where it is trained.
    """
    branch = Branch(candidate, seed).to(device).train()
    optimizer = torch.optim.Adam(branch.parameters(), LEARNING_RATE)
    half = len(recorded.maps) // 2
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for step in range(steps):
            x, g = (each[step % half].to(device) for each in (recorded.maps, recorded.gradients))
            optimizer.zero_grad()
            (-cosine(-g, branch(x))).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():  # in train mode: a new block's own BatchNorm has no running statistics yet
            pairs = [
                (cosine(-g.to(device), branch(x.to(device))), g.norm())
                for x, g in zip(recorded.maps[half:], recorded.gradients[half:], strict=True)
            ]
    cosines = torch.tensor([float(each) for each, _ in pairs], dtype=torch.float64)
    norms = torch.tensor([float(norm) for _, norm in pairs], dtype=torch.float64)
    spread = float(cosines.std()) if len(pairs) > 1 else None
    return Alignment(float(cosines.mean()), spread, float((cosines * norms).mean()))


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine of the angle between two tensors of one shape, as vectors; 0 if one of them is zero."""
    return nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0, eps=torch.finfo(a.dtype).tiny)
