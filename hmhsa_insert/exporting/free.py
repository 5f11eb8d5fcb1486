"""Layers in a form that torch's exporter keeps free: in others it compares sizes, and restricts the program."""

from __future__ import annotations

from torch import Tensor, nn

from hmhsa_insert.blocks.windows import max_pool, mean_pool


class Pool(nn.Module):
    """An average or maximum pool without padding that keeps what is left at the edge."""

    def __init__(self, kernel: int, stride: int, is_mean: bool) -> None:
        super().__init__()
        self.kernel, self.stride, self.is_mean = kernel, stride, is_mean

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled N×C×H×W map."""
        return (mean_pool if self.is_mean else max_pool)(x, self.kernel, self.stride)


def freed(model: nn.Module) -> nn.Module:
    """Change, in place, a network that is to run at any batch or size; return it.

    Pools with ``ceil_mode`` are replaced. Convolutions get contiguous maps: of a channels_last one, the exporter asks
    whether it is more than one image, and more than one pixel.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            made = _free(child)
            if made is not None:
                setattr(parent, name, made)
        if isinstance(parent, nn.Conv2d):
            parent.register_forward_pre_hook(_contiguous)
    return model


def _contiguous(layer: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (args[0].contiguous(), *args[1:])


def _free(pool: nn.Module) -> Pool | None:
    if type(pool) not in (nn.AvgPool2d, nn.MaxPool2d) or not pool.ceil_mode:
        return None
    sides = [_side(value) for value in (pool.kernel_size, pool.stride, pool.padding)]
    kernel, stride, padding = sides
    plain = getattr(pool, "dilation", 1) in (1, (1, 1)) and not getattr(pool, "divisor_override", None)
    if kernel is None or stride is None or padding != 0 or stride > kernel or not plain:
        return None
    return Pool(kernel, stride, isinstance(pool, nn.AvgPool2d)).eval()


def _side(value: object) -> int | None:
    """Return the side of a square, None of what is not square."""
    if isinstance(value, int):
        return value
    return value[0] if isinstance(value, tuple) and value[0] == value[1] else None
