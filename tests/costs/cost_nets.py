"""Small nets that the tests of costs share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from hmhsa_insert.costs.count import Counts, total


class Attention(nn.Module):
    """One head of attention over the pixels of a map, written out or fused; no parameters."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        # In an order of their own (`contiguous` leaves a single channel as it is): torch fuses no other.
        tokens = x.flatten(2).transpose(1, 2).unsqueeze(1).clone(memory_format=torch.contiguous_format)
        if self.fused:
            with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
                out = F.scaled_dot_product_attention(tokens, tokens, tokens)
        else:
            out = (tokens @ tokens.transpose(-1, -2)).softmax(-1) @ tokens
        return out.squeeze(1).transpose(1, 2).reshape(x.shape)


class Call(nn.Module):
    """Runs any function on the image."""

    def __init__(self, function, **tensors: Tensor) -> None:
        super().__init__()
        self.function = function
        for name, tensor in tensors.items():
            self.register_parameter(name, nn.Parameter(tensor))

    def forward(self, x: Tensor):
        return self.function(self, x)


def assert_rows_add_up(counts: Counts) -> None:
    whole = total(counts.by_module)
    assert whole.num_params == counts.num_params
    assert whole.num_trainable == counts.num_trainable
    assert whole.macs == counts.macs == counts.flops // 2
    assert whole.macs_modules_only == counts.macs_modules_only
    assert whole.activations == counts.activations
    assert len({row.name for row in counts.by_module}) == len(counts.by_module)
