"""Attention maps: which positions a block's attention looks at, from its own queries and keys on a real image.

The model runs once. Every call of ``scaled_dot_product_attention`` inside a block is seen with its queries and keys,
and softmax(QKᵀ/√d) is computed from them for the positions that are asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.blocks.looks import Look, Looks
from hmhsa_insert.errors import ModelError, Problem, first_line, near
from hmhsa_insert.surgery.edit.splice import inserted_modules

# Rows of one softmax at a time: bounds the memory of the mean over all queries of a large map.
_ROWS = 512


@dataclass(frozen=True)
class StepAttention:
    """Where one softmax attention of a block looks.

    Attributes:
        name: what it covers, in a few words.
        equation: the equation that it is, and its source.
        tokens: N×heads×h×w, the weight of every key token; those of one image and head add up to 1.
        weights: N×heads×H×W, the same at the resolution of the block's map: the weight of a token is spread evenly
            over the positions that it pools.
    """

    name: str
    equation: str
    tokens: Tensor = field(repr=False)
    weights: Tensor = field(repr=False)


@dataclass(frozen=True)
class BlockAttention:
    """Where one block looks.

    Attributes:
        name: qualified name of the module that attends.
        kind: its class.
        size: H and W of its map.
        query: the position of the map that is asked about, row and column; None for the mean over all positions.
        steps: in the order in which they run. A block that attends in steps adds their results, each made of other
            values, so that there is no one map of the whole block.
    """

    name: str
    kind: str
    size: tuple[int, int]
    query: tuple[int, int] | None
    steps: tuple[StepAttention, ...]


@reads_arguments
def attention(
    model: nn.Module, image: Tensor, block: str | None = None, query: tuple[int, int] | None = None
) -> dict[str, BlockAttention]:
    """Return where every attention block of a model looks on an image.

    The maps are softmax(QKᵀ/√d) of the block's own queries and keys on this image, in eval mode. H-MHSA attends in
    steps: first among the positions of a cell, then among cells, up to the whole map. Each step has its own map.

    Args:
        model: a model with blocks of this package, inserted or its own; it is not changed. Of a detector, give
            ``model.backbone`` and the images that it gets.
        image: C×H×W or N×C×H×W, as the model takes it: resized and normalized.
        block: the name of a block, or a pattern such as ``layer3.*``; the name of an edit's child is enough.
        query: row and column of a pixel of the image: the map is that of the position that it lies in. By default the
            mean over all positions.

    Returns:
        Qualified name of the attending module -> its maps. A block without attention (a convolution, a layer of timm)
        is not among them.

    Raises:
        ModelError: no block of the model attends, or none is called `block`; the pixel is outside of the image; the
            model does not run on it.

    Source:
        arXiv 2106.03180; the equation of each step is in :attr:`StepAttention.equation`.

    Example:
        >>> import timm, torch
        >>> import hmhsa_insert as hi
        >>> model = hi.apply(timm.create_model("test_resnet"), "stage3.yaml", input_size=(3, 160, 160))
        >>> (found,) = hi.attention(model, torch.randn(3, 160, 160), query=(80, 80)).values()
        >>> for step in found.steps:
        ...     print(step.name, tuple(step.weights.shape), f"{step.weights[0, 0].sum():.3f}")
        step 0, all 10×10 (1, 6, 10, 10) 1.000
    """
    images = image[None] if image.ndim == 3 else image
    if images.ndim != 4 or not len(images):
        raise ModelError(Problem("image", f"a tensor of shape {tuple(image.shape)}", "give C×H×W or N×C×H×W"))
    height, width = images.shape[2:]
    if query is not None and not (0 <= query[0] < height and 0 <= query[1] < width):
        message = f"row {query[0]}, column {query[1]} is outside of an image of {height}×{width} pixels"
        raise ModelError(Problem("query", message))
    found: dict[str, BlockAttention] = {}
    for run in _seen(model, images, _chosen(model, block)):
        name = (
            run.name
            if run.name not in found
            else f"{run.name} ({sum(n.startswith(run.name) for n in found) + 1})"
        )
        found[name] = _of_block(name, run, images, query)
    return found


def attending(model: nn.Module) -> dict[str, Looks]:
    """Return the modules of `model` whose attention can be shown, by qualified name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Looks)}


def without_attention(model: nn.Module) -> dict[str, str]:
    """Return the inserted blocks that do not attend, or not as blocks of this package do: key -> class."""
    return {
        key: type(getattr(module, "block", module)).__name__
        for key, module in inserted_modules(model)
        if not attending(module)
    }


@dataclass
class _Run:
    """One call of an attending module: its looks, and the queries and keys of each call of a softmax attention."""

    name: str
    module: Looks
    size: tuple[int, int]
    looks: tuple[Look, ...]
    pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @property
    def expected(self) -> int:
        return sum(len(look.cells.regions) for look in self.looks)


class _Watch(TorchFunctionMode):
    """Keeps the queries and keys of every softmax attention inside the modules that are watched."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[_Run] = []

    def begin(self, name: str, module: Looks, x: Tensor) -> None:
        size = (x.shape[2], x.shape[3])
        self.runs.append(_Run(name, module, size, module.looks(*size)))

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention and self.runs:
            run = self.runs[-1]
            if len(run.pairs) < run.expected:
                run.pairs.append((args[0].detach(), args[1].detach()))
        return func(*args, **(kwargs or {}))


def _seen(model: nn.Module, images: Tensor, chosen: dict[str, Looks]) -> list[_Run]:
    """Run `model` once and return the calls of the chosen modules."""
    watch = _Watch()
    with ExitStack() as stack:
        stack.enter_context(_evaluating(model))
        for name, module in chosen.items():
            # A hook inside of a block also keeps it from working on a few images or cells at a time.
            handle = module.norm.register_forward_pre_hook(
                lambda _, args, name=name, module=module: watch.begin(name, module, args[0])
            )
            stack.callback(handle.remove)
        try:
            with torch.no_grad(), watch:
                model(images)
        except Exception as error:
            message = f"does not run on images of shape {tuple(images.shape)}: {first_line(error)}"
            raise ModelError(Problem(type(model).__name__, message)) from error
    missing = [name for name in chosen if not any(run.name == name for run in watch.runs)]
    missing += [run.name for run in watch.runs if not _is_complete(run, len(images))]
    if missing:
        tip = "a compiled or exported model hides its attention: give the model as it was before"
        raise ModelError([Problem(name, "its attention was not seen", tip) for name in missing])
    return watch.runs


def _is_complete(run: _Run, num_images: int) -> bool:
    """Return True if the queries and keys have the shapes of the looks; an attention of other code has not."""
    if len(run.pairs) != run.expected:
        return False
    windows = [(look, region) for look in run.looks for region in look.cells.regions]
    for (q, k), (look, region) in zip(run.pairs, windows, strict=True):
        tokens = region.height * region.width
        keys = look.key_size[0] * look.key_size[1] if look.pooled else tokens
        if (q.shape[0], q.shape[2], k.shape[2]) != (num_images * region.rows * region.cols, tokens, keys):
            return False
    return True


def _chosen(model: nn.Module, block: str | None) -> dict[str, Looks]:
    there = attending(model)
    others = without_attention(model)
    if not there:
        known = ", ".join(f"{key} ({kind})" for key, kind in others.items())
        reason = f"; without attention: {known}" if known else ""
        raise ModelError(Problem(type(model).__name__, f"no block of this model attends{reason}"))
    if block is None:
        return there
    matched = {n: m for n, m in there.items() if fnmatchcase(n, block) or n.startswith(f"{block}.")}
    if not matched:
        without = next((kind for key, kind in others.items() if fnmatchcase(key, block)), None)
        message = f"{without} is a block without attention" if without else "no block of this name attends"
        tip = near(block, there) or f"those that do: {', '.join(list(there)[:5])}"
        raise ModelError(Problem(block, message, tip))
    return matched


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put `model` in eval mode, and every module back in its own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _of_block(name: str, run: _Run, images: Tensor, query: tuple[int, int] | None) -> BlockAttention:
    height, width = run.size
    at = None
    asked = torch.full((height, width), 1 / (height * width), dtype=torch.float64)
    if query is not None:
        at = (query[0] * height // images.shape[2], query[1] * width // images.shape[3])
        asked = torch.zeros_like(asked).index_put(
            (torch.tensor(at[0]), torch.tensor(at[1])), asked.new_tensor(1.0)
        )
    steps, pairs = [], iter(run.pairs)
    for look in run.looks:
        mine = [next(pairs) for _ in look.cells.regions]
        tokens = _token_weights(look, _share_of_tokens(look, asked), mine, len(images))
        weights = look.spread(tokens)
        steps.append(StepAttention(look.name, look.equation, tokens.float(), weights.float()))
    return BlockAttention(name, type(run.module).__name__, run.size, at, tuple(steps))


def _share_of_tokens(look: Look, asked: Tensor) -> Tensor:
    """Return how much of what the asked positions read comes from each query token: 1×h×w×1, of the sum of `asked`."""
    with torch.enable_grad():
        # Reading is linear, so that its transpose is its gradient.
        tokens = torch.zeros(1, 1, look.cells.height, look.cells.width, dtype=asked.dtype, requires_grad=True)
        (share,) = torch.autograd.grad((look.read(tokens) * asked).sum(), tokens)
    return share.permute(0, 2, 3, 1)


def _token_weights(
    look: Look, share: Tensor, pairs: Sequence[tuple[Tensor, Tensor]], num_images: int
) -> Tensor:
    """Return the mean of softmax(QKᵀ/√d) over the query tokens by their `share`: N×heads×h×w over the key tokens."""
    parts = []
    for (q, k), shares in zip(pairs, look.cells.cut(share), strict=True):
        q, k = (torch.unflatten(tensor.cpu().double(), 0, (num_images, -1)) for tensor in (q, k))
        windows = torch.zeros(num_images, q.shape[1], q.shape[2], k.shape[3], dtype=torch.float64)
        for window in shares.sum((1, 2)).nonzero().flatten().tolist():
            windows[:, window] = _mean_row(q[:, window], k[:, window], shares[window, :, 0])
        parts.append(windows.flatten(0, 1).transpose(1, 2))
    joined = torch.unflatten(parts[0], 1, look.key_size) if look.pooled else look.cells.join(parts)
    return joined.permute(0, 3, 1, 2)


def _mean_row(q: Tensor, k: Tensor, share: Tensor) -> Tensor:
    """Return Σₜ shareₜ softmax(qₜkᵀ/√d) of one window, N×heads×keys; q and k are N×heads×tokens×d."""
    total = q.new_zeros(*q.shape[:2], k.shape[2])
    for rows in torch.split(share.nonzero().flatten(), _ROWS):
        scores = q[:, :, rows] @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        total += (scores.softmax(-1) * share[rows, None]).sum(2)
    return total
