"""The record of what a model costs: one object behind every table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from torch import nn

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.costs.count import ModuleCost
from hmhsa_insert.costs.counters import Number, Subject, filled
from hmhsa_insert.costs.crosscheck import CrossCheck, crosscheck
from hmhsa_insert.costs.environment import Environment, environment
from hmhsa_insert.costs.latency import LatencyRecord, OnProgress, Timing, measure_latency
from hmhsa_insert.costs.memory import MemoryRecord, cuda_peak, largest_batch, training_memory
from hmhsa_insert.costs.parts import Parts, module_parts, stage_parts
from hmhsa_insert.costs.record_table import cost_tables
from hmhsa_insert.costs.steps import Setting
from hmhsa_insert.printed import Printed
from hmhsa_insert.surgery.base.fake import notes
from hmhsa_insert.surgery.base.given import inputs_of
from hmhsa_insert.surgery.base.inputs import Inputs, InputSize
from hmhsa_insert.surgery.base.load import SOURCE
from hmhsa_insert.surgery.edit.splice import ledgers
from hmhsa_insert.tables import Table

FORMAT_VERSION = 1
Per = Literal["stage", "module"]
# What "the largest batch that fits" refers to unless somebody asks for another.
DEVICE_GIB = 16.0


@dataclass(frozen=True, repr=False)
class ProfileRecord(Printed):
    """What one model costs at one input size. Counts are per image.

    Attributes:
        name: what tables call the model.
        group: the model this one is compared with: the first of those measured together.
        input_size: C, H, W of one image.
        inputs: all that goes in, as text.
        num_params, num_trainable: elements of all parameters, and of those that require a gradient.
        macs: multiply–accumulates of convolutions and matrix products, attention included.
        flops: 2 × `macs`.
        macs_modules_only: convolution and linear layers with bias only, the convention of most papers.
        activations: elements of the outputs of convolutions and matrix products.
        unknown_ops: operations without a formula; their cost is in none of the numbers.
        by_module: one row per module, each without its children; columns add up to the totals above.
        parts: the modules of each part that tables show: stages and inserted blocks, or single modules.
        crosscheck: fvcore's opinion of `macs`, with a finding where it differs.
        environment: where and under which setting this was measured.
        memory: of a training step; None when not asked for.
        device_gib: the memory, in 2³⁰ bytes, that the largest batch in :meth:`as_dict` fits into.
        inference, training: latencies; None when not asked for.
        conventions: what a reader must know of how this kind of model is counted.
        network: what builds the base network again, by name; empty where nothing is known to.
        recipes: what edited it, in their order.
        others: what further rows of ``COUNTERS`` filled, by the fields of their quantities.
    """

    name: str
    group: str
    input_size: tuple[int, int, int]
    inputs: str
    num_params: int
    num_trainable: int
    macs: int
    flops: int
    macs_modules_only: int
    activations: int
    unknown_ops: tuple[str, ...]
    by_module: tuple[ModuleCost, ...] = field(repr=False)
    crosscheck: CrossCheck
    environment: Environment = field(repr=False)
    parts: Parts = field(default_factory=dict, repr=False)
    memory: MemoryRecord | None = None
    device_gib: float = DEVICE_GIB
    inference: LatencyRecord | None = None
    training: LatencyRecord | None = None
    conventions: tuple[str, ...] = ()
    network: str = ""
    recipes: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    others: Mapping[str, Number] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON-able data, with ``"kind": "profile"`` and the version of its format."""
        data: dict[str, Any] = {"kind": "profile", "version": FORMAT_VERSION, **asdict(self)}
        data |= data.pop("others")
        if self.memory is not None:
            data["memory"]["saved_bytes_per_image"] = self.memory.saved_bytes_per_image
            data["memory"]["largest_batch"] = largest_batch(self.memory, self.device_gib)
        return data

    def tables(self) -> Sequence[Table]:
        """Return what was measured, a row per quantity, with what a reader must know of each."""
        return cost_tables(self.as_dict())


@reads_arguments
def profile(
    model: nn.Module,
    input_size: InputSize = (3, 224, 224),
    *,
    inputs: InputSize = None,
    name: str | None = None,
    batch: int = 1,
    memory: bool = False,
    device_gib: float = DEVICE_GIB,
    per: Per | None = None,
    timing: Timing | None = None,
    setting: Setting | None = None,
    progress: OnProgress | None = None,
) -> ProfileRecord:
    """Measure what `model` costs. The model is not touched.

    Args:
        model: any module.
        input_size: of one image: 96 for a square, ``(H, W)`` or ``(C, H, W)``; otherwise see :meth:`Inputs.of`.
        inputs: in its place: example tensors, by position in a tuple, by name in a dict.
        name: what tables call it; by default the name of its class.
        batch: images in a step of memory (at least 2 there) and latency, if the inputs have none of their own;
            counts are per image.
        memory: also say what a training step keeps in memory.
        device_gib: the memory, in 2³⁰ bytes, that the largest batch is said for.
        per: name the parts of a network that tables show: its stages and inserted blocks, or its modules.
        timing: which steps to time, and how; none by default.
        setting: device, dtype, memory format and compilation of what is run; counts do not depend on them.
        progress: called with (timings done, timings in all).

    Raises:
        ModelError: when the model cannot be copied, or cannot run at this size.

    Example:
        >>> import timm
        >>> import hmhsa_insert as hi
        >>> record = hi.profile(timm.create_model("resnet18"), (3, 224, 224))
        >>> record.num_params, record.macs
        (11689512, 1814073344)
    """
    (record,) = profile_all(
        {name or type(model).__name__: model},
        input_size,
        inputs=inputs,
        batch=batch,
        memory=memory,
        device_gib=device_gib,
        per=per,
        timing=timing,
        setting=setting,
        progress=progress,
    )
    return record


def profile_all(
    models: Mapping[str, nn.Module],
    input_size: InputSize = (3, 224, 224),
    *,
    inputs: InputSize = None,
    batch: int = 1,
    memory: bool = False,
    device_gib: float = DEVICE_GIB,
    per: Per | None = None,
    timing: Timing | None = None,
    setting: Setting | None = None,
    progress: OnProgress | None = None,
) -> tuple[ProfileRecord, ...]:
    """Measure several models side by side: as :func:`profile`, with latencies taken in turns and paired.

    Args:
        models: by the name tables call them; the first is the base the others are compared with.
        input_size: of one image: 96 for a square, ``(H, W)`` or ``(C, H, W)``; otherwise see :meth:`Inputs.of`.
        inputs: in its place: example tensors, by position in a tuple, by name in a dict.
        batch: images in a step of memory (at least 2 there) and latency, if the inputs have none of their own;
            counts are per image.
        memory: also say what a training step keeps in memory.
        device_gib: the memory, in 2³⁰ bytes, that the largest batch is said for.
        per: name the parts of a network that tables show: its stages and inserted blocks, or its modules.
        timing: which steps to time, and how; none by default.
        setting: device, dtype, memory format and compilation of what is run; counts do not depend on them.
        progress: called with (timings done, timings in all).

    Raises:
        ModelError: when a model cannot be copied, or cannot run at this size.
    """
    setting = setting or Setting()
    given = inputs_of(next(iter(models.values())), input_size, inputs)
    plain = {name: _uncompiled(model) for name, model in models.items()}
    group, where = next(iter(models)), environment(setting)
    records = {name: _counted(name, group, model, given, where) for name, model in plain.items()}
    if per:
        records = {name: _with_parts(record, plain[name], given, per) for name, record in records.items()}
    if memory:
        kept = {name: _memory(model, given, max(batch, 2), setting) for name, model in plain.items()}
        records = {
            name: replace(record, memory=kept[name], device_gib=device_gib)
            for name, record in records.items()
        }
    modes = timing.modes if timing else ()
    for turn, mode in enumerate(modes):
        share = _share(progress, turn, len(modes))
        times = measure_latency(plain, given, mode, batch, timing=timing, setting=setting, progress=share)
        records = {name: _with_latency(record, times[name]) for name, record in records.items()}
    return tuple(records.values())


def _with_parts(record: ProfileRecord, model: nn.Module, inputs: Inputs, per: Per) -> ProfileRecord:
    if per == "stage":
        return replace(record, parts=stage_parts(model, inputs))
    return replace(record, parts=module_parts(record.by_module))


def _with_latency(record: ProfileRecord, times: LatencyRecord) -> ProfileRecord:
    if times.mode == "inference":
        return replace(record, inference=times)
    return replace(record, training=times)


def _counted(name: str, group: str, model: nn.Module, inputs: Inputs, where: Environment) -> ProfileRecord:
    subject = Subject(model, inputs)
    numbers: dict[str, Any] = filled(subject)
    own = {each.name: numbers.pop(each.name) for each in fields(ProfileRecord) if each.name in numbers}
    return ProfileRecord(
        name=name,
        group=group,
        input_size=inputs.image_size,
        inputs=str(inputs),
        **own,
        flops=2 * own["macs"],
        unknown_ops=subject.counts.unknown_ops,
        by_module=subject.counts.by_module,
        environment=where,
        crosscheck=crosscheck(model, subject.counts),
        conventions=tuple(doubt for done in ledgers(model) for doubt in done.plan.doubts),
        network=source.spec if (source := notes(model).get(SOURCE)) else "",
        recipes=tuple(dict(ledger.plan.recipe) for ledger in ledgers(model)),
        others=numbers,
    )


def _memory(model: nn.Module, inputs: Inputs, batch: int, setting: Setting) -> MemoryRecord:
    kept = training_memory(model, inputs, batch, dtype=setting.dtype)
    if setting.device.startswith("cuda"):
        kept = replace(kept, peak=cuda_peak(model, inputs, batch, setting))
    return kept


def _uncompiled(model: nn.Module) -> nn.Module:
    """Return the module that `torch.compile` wrapped: a compiled one runs operations no counter sees."""
    inner = getattr(model, "_orig_mod", model)
    return inner if isinstance(inner, nn.Module) else model


def _share(progress: OnProgress | None, turn: int, turns: int) -> OnProgress | None:
    """Return `progress` of one of several equal turns in terms of all of them."""
    if progress is None:
        return None
    return lambda done, whole: progress(turn * whole + done, turns * whole)
