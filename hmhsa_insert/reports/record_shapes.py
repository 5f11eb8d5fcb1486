"""What a record of a report must look like, whoever wrote it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hmhsa_insert.files.run_shapes import Averages
from hmhsa_insert.files.shapes import Count, Name, Percent, Quantity, Shape

# The kinds of record a report understands.
KINDS = ("profile", "training")

_Side = Annotated[int, Field(ge=1, le=1 << 20)]
_InputSize = Annotated[list[_Side], Field(min_length=3, max_length=3, description="channels, height, width")]
_Batch = Annotated[int, Field(ge=1, le=1 << 40)]
# So many that the sums over the modules of any file still fit a column of 64 bits.
_OfModule = Annotated[int, Field(ge=0, lt=10**13)]


class _Peak(Shape):
    allocated: Count


class _Memory(Shape):
    batch: _Batch
    saved_bytes_per_image: Quantity | None = None
    largest_batch: Count | None = None
    by_module: dict[str, Quantity] = Field(default_factory=dict)
    peak: _Peak | None = None


class _Latency(Shape):
    batch: _Batch
    clock: Name
    latency_ms: Quantity
    images_per_s: Quantity | None = None
    p10_ms: Quantity | None = None
    p90_ms: Quantity | None = None
    time_ratio: Quantity | None = None


class _Versions(Shape):
    torch: Name


class _Environment(Shape):
    cpu: str
    device: Name
    threads: int
    dtype: str
    channels_last: bool
    compiled: bool
    versions: _Versions


class _ModuleCost(Shape):
    name: str
    num_params: _OfModule
    macs: _OfModule
    macs_modules_only: _OfModule
    activations: _OfModule


class _CrossCheck(Shape):
    finding: str = ""


class RecordShape(Shape):
    """A profile or a training run: a name and a size, and whatever was measured."""

    kind: Literal["profile", "training"]
    name: Name
    input_size: _InputSize
    group: Name | None = None
    num_params: Count | None = None
    num_trainable: Count | None = None
    macs: Count | None = None
    macs_modules_only: Count | None = None
    activations: Count | None = None
    device_gib: Quantity | None = None
    memory: _Memory | None = None
    inference: _Latency | None = None
    training: _Latency | None = None
    environment: _Environment | None = None
    top1: Percent | None = None
    box: Averages | None = None
    mask: Averages | None = None
    data: Name | None = None
    source: Name | None = None
    by_module: list[_ModuleCost] = Field(default_factory=list)
    parts: dict[str, list[str]] | None = None
    conventions: list[str] | None = None
    unknown_ops: list[str] | None = None
    crosscheck: _CrossCheck | None = None
