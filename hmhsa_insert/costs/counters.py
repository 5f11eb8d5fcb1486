"""The counters: each fills one quantity of a model, for one image. A new one is a row of `COUNTERS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

from torch import nn

from hmhsa_insert.costs.count import Counts, count
from hmhsa_insert.costs.memory import training_memory
from hmhsa_insert.errors import ModelError
from hmhsa_insert.surgery.base.inputs import Inputs, InputSize

Number = int | float | None


@dataclass
class Subject:
    """What counters are given.

    Attributes:
        model: any module; no counter touches it.
        inputs: what goes in.
    """

    model: nn.Module
    inputs: Inputs

    @cached_property
    def counts(self) -> Counts:
        """What several counters read of one forward pass, which runs once; per image."""
        return count(self.model, self.inputs).per_sample


def saved_bytes_per_image(subject: Subject) -> float | None:
    """Return the bytes saved for backward; None where the model cannot be trained at this size."""
    try:
        return training_memory(subject.model, subject.inputs).saved_bytes_per_image
    except ModelError:
        return None


# The field of a quantity -> what fills it.
COUNTERS: dict[str, Callable[[Subject], Number]] = {
    **{
        name: attrgetter(f"counts.{name}")
        for name in ("num_params", "num_trainable", "macs", "macs_modules_only", "activations")
    },
    "saved_bytes_per_image": saved_bytes_per_image,
}
# They take as long as all others together.
_ON_REQUEST = ("saved_bytes_per_image",)


def counted(
    model: nn.Module, inputs: InputSize = (3, 224, 224), *, memory: bool = False
) -> dict[str, Number]:
    """Return all numbers that are counted, by the fields of their quantities, for one image.

    Args:
        model: any module; it is not touched.
        inputs: C, H, W of one image, or more, see :meth:`Inputs.of`.
        memory: also what is saved for the backward pass.

    Raises:
        ModelError: when the model cannot be copied, or cannot run at this size.
    """
    return filled(Subject(model, Inputs.of(inputs)), memory=memory)


def filled(subject: Subject, *, memory: bool = False) -> dict[str, Number]:
    """Return what :func:`counted` does, of a subject whose counts are needed besides."""
    return {name: fill(subject) for name, fill in COUNTERS.items() if memory or name not in _ON_REQUEST}
