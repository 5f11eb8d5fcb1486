"""The description of one input of a network: its size, dtype and range.

As text an input is ``[NAME:][=]SIZE[:DTYPE[<N]]``: ``3x224x224``, ``x:3x224x224``, ``tokens:77:int64<49408``.
Without a size it is one number for each sample: ``timestep:int64``, ``sigma:float`` (the dtype of the
network's weights). ``=`` means that the input has no batch axis.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from hmhsa_insert.errors import ModelError, Problem, near

Size: TypeAlias = tuple[int, ...]

_OWN = "float"  # the type of the network's own weights
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
    )
}
_TEXT = re.compile(
    r"(?:(?P<name>[^\W\d]\w*):)?(?P<whole>=)?(?P<size>\d+(?:[x×]\d+)*)?"
    r"(?:(?(size):)(?P<dtype>[A-Za-z]\w*)(?:<(?P<below>\d+))?)?"
)
_MOST = 2**31  # cells along one axis, and integers to draw from
FORMS_TIP = "write 3x224x224, tokens:77:int64<49408, timestep:int64, sigma:float (one number for each sample)"


@dataclass(frozen=True)
class Input:
    """One input tensor of a network.

    Attributes:
        size: without the batch axis; ``()`` is one number for each sample.
        dtype: None means that of the network's weights.
        below: integers are drawn from 0 to `below` − 1; by default they are 0, an index that every embedding
            has (uint8: 0 to 255).
        batched: True if a batch axis comes before `size`.
        example: a tensor to run on if values are needed.
    """

    size: Size = ()
    dtype: torch.dtype | None = None
    below: int | None = None
    batched: bool = True
    example: Tensor | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        whole_numbers = self.dtype is not None and not (self.dtype.is_floating_point or self.dtype.is_complex)
        if any(type(n) is not int or not 0 < n <= _MOST for n in self.size):
            message = f"{self.size} is not a size: its axes are integers from 1"
            raise ModelError(Problem("input", message, FORMS_TIP))
        if self.below is not None and not (whole_numbers and 0 < self.below <= _MOST):
            message = f"<{self.below} is for integers, and says how many there are to draw from"
            raise ModelError(Problem("input", message, FORMS_TIP))

    def __deepcopy__(self, memo: dict[int, Any]) -> Input:
        return self  # nothing in it changes, and an example tensor may be large

    @classmethod
    def like(cls, example: Tensor, batch: int) -> Input:
        """Describe a tensor; its first axis is the batch axis if it has length `batch`."""
        batched = example.ndim > 0 and example.shape[0] == batch
        below = None
        if not (example.is_floating_point() or example.is_complex() or example.dtype == torch.bool):
            most = int(example.max()) if example.numel() and not example.is_meta else _MOST
            below = max(most + 1, 1) if most < _MOST else None
        size = tuple(example.shape[1:] if batched else example.shape)
        has_values = not example.is_meta
        return cls(size, example.dtype, below, batched, example.detach() if has_values else None)

    @property
    def is_plain(self) -> bool:
        """True if it is batched and has the dtype of the weights, so that its size describes it fully."""
        return self.batched and self.dtype is None

    def __str__(self) -> str:
        size = "x".join(map(str, self.size))
        dtype = _OWN if self.dtype is None else str(self.dtype).removeprefix("torch.")
        below = f"<{self.below}" if self.below is not None else ""
        shown = [size] if size and self.dtype is None else [part for part in (size, dtype + below) if part]
        return ("" if self.batched else "=") + ":".join(shown)

    def empty(self, batch: int, dtype: torch.dtype, device: torch.device | str) -> Tensor:
        """Return an uninitialized tensor; `dtype` is that of the network's weights."""
        return torch.empty(self._shape(batch), dtype=self.dtype or dtype, device=device)

    def drawn(self, batch: int, dtype: torch.dtype, device: torch.device | str) -> Tensor:
        """Return the example, or random numbers from torch's generator; `dtype` is that of the weights."""
        if self.example is not None:
            if self.batched:
                cycle = torch.arange(batch, device=self.example.device) % len(self.example)
                return self.example[cycle].to(device)
            return self.example.to(device)
        shape, wanted = self._shape(batch), self.dtype or dtype
        if wanted == torch.bool:
            return (torch.rand(shape) < 0.5).to(device)
        if not (wanted.is_floating_point or wanted.is_complex):
            most = self.below or (256 if wanted == torch.uint8 else 1)
            return torch.randint(most, shape, dtype=wanted).to(device)
        return torch.randn(shape, dtype=wanted if wanted.is_complex else None).to(device, wanted)

    def _shape(self, batch: int) -> Size:
        return (batch, *self.size) if self.batched else self.size


def parse_input(text: str, where: str = "input") -> tuple[str | None, Input]:
    """Return the name (if any) and the input that `text` describes.

    Raises:
        ModelError: it describes none; `where` is the place for the message.
    """
    found = _TEXT.fullmatch(text.strip())
    if found is None or not (found["size"] or found["dtype"]):
        raise ModelError(Problem(where, f"'{text}' describes no input", FORMS_TIP))
    name, written = found["dtype"], found["size"]
    if name not in (None, _OWN, *DTYPES):
        tip = near(name, (_OWN, *DTYPES)) or FORMS_TIP
        raise ModelError(Problem(where, f"'{text}': there is no type '{name}'", tip))
    size = tuple(int(n) for n in re.split("[x×]", written)) if written else ()
    below = int(found["below"]) if found["below"] else None
    try:
        return found["name"], Input(size, DTYPES.get(name or _OWN), below, not found["whole"])
    except ModelError as error:
        raise ModelError(Problem(where, f"'{text}': {error.problems[0].message}", FORMS_TIP)) from None
