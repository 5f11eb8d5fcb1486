"""What a record of a report must look like, whoever wrote it."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, create_model

from hmhsa_insert.drawing.data import Contents, drawable
from hmhsa_insert.files.run_shapes import Averages
from hmhsa_insert.files.shapes import Count, Name, Shape, of_kind
from hmhsa_insert.files.shapes import Quantity as Amount
from hmhsa_insert.quantities import QUANTITIES
from hmhsa_insert.quantity import COUNTS, NUMBER, Kind, Quantity

# The kinds of record a report understands.
KINDS = ("profile", "training")

_Side = Annotated[int, Field(ge=1, le=1 << 20)]
InputSize = Annotated[list[_Side], Field(min_length=3, max_length=3, description="channels, height, width")]
_Batch = Annotated[int, Field(ge=1, le=1 << 40)]
# So many that the sums over the modules of any file still fit a column of 64 bits.
_OfModule = Annotated[int, Field(ge=0, lt=10**13)]

# What a task reached, by the names it gives.
Scores = dict[Name, Annotated[float, Field(ge=NUMBER.least, le=NUMBER.most)] | None]


class _Peak(Shape):
    allocated: Count


class _Memory(Shape):
    batch: _Batch
    by_module: dict[str, Amount] = Field(default_factory=dict)


class _Latency(Shape):
    batch: _Batch
    clock: Name
    latency_ms: Amount


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


class _CrossCheck(Shape):
    finding: str = ""


class RecordShape(Shape):
    """A profile or a training run: a name and a size; :func:`record_shape` adds whatever can be measured."""

    kind: Literal["profile", "training"]
    name: Name
    input_size: InputSize
    group: Name | None = None
    environment: _Environment | None = None
    scores: Scores | None = None
    data: Name | None = None
    source: Name | None = None
    parts: dict[str, list[str]] | None = None
    conventions: list[str] | None = None
    unknown_ops: list[str] | None = None
    crosscheck: _CrossCheck | None = None
    network: str | None = None
    recipes: list[dict[str, Any]] | None = None
    drawing: Annotated[Contents, AfterValidator(drawable)] | None = None


# What records have inside others, beside quantities.
_NESTED: dict[str, type[Shape]] = {
    "memory": _Memory,
    "peak": _Peak,
    "inference": _Latency,
    "training": _Latency,
    "box": Averages,
    "mask": Averages,
}


def record_shape() -> type[RecordShape]:
    """Return the shape of a record with all quantities that there are now."""
    return _record_shape(tuple(QUANTITIES.values()))


@lru_cache(maxsize=1)
def _record_shape(quantities: tuple[Quantity, ...]) -> type[RecordShape]:
    counts = {each.field: (_OfModule, ...) for each in quantities if each.parts and each.section == COUNTS}
    module: Any = create_model("_ModuleCost", __base__=Shape, name=(str, ...), **counts)  # type: ignore[call-overload]
    by_module: Any = (list[module], Field(default_factory=list))
    shape: type[RecordShape] = _with(
        RecordShape, [(each.path, each.kind) for each in quantities], by_module=by_module
    )
    return shape


def _with(base: type[Any], values: list[tuple[tuple[str, ...], Kind]], **fields: Any) -> Any:
    """Return a shape with the values at the ends of paths, where it does not have them yet, and with `fields`."""
    found: dict[str, Any] = {}
    for key in dict.fromkeys(path[0] for path, _ in values):
        own = [(path[1:], kind) for path, kind in values if path[0] == key]
        if key in base.model_fields:
            continue
        inner = [(path, kind) for path, kind in own if path]
        found[key] = (_with(_NESTED.get(key, Shape), inner) | None if inner else of_kind(own[0][1]), None)
    return create_model(base.__name__, __base__=base, **found, **fields)
