"""Parameters, multiply–accumulates and activations of any model, counted without running it.

The number of record is `torch.utils.flop_counter.FlopCounterMode` on fake tensors, attention products
included, whether fused or written out. Beside it stands the convention papers print: convolution and linear
layers with their bias, and nothing else.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hmhsa_insert.costs.fake import ModuleStack, cannot_run, fake_copy, home, without_fast_path
from hmhsa_insert.costs.ops import CONVOLUTIONS, FUSED_ATTENTION, PRODUCTS, left_out
from hmhsa_insert.formulas import EXTRA_FORMULAS
from hmhsa_insert.surgery.base.inputs import Inputs, InputSize
from hmhsa_insert.surgery.locate.stand_in import with_stand_ins
from hmhsa_insert.torch_private import TorchDispatchMode, unlogged

aten = torch.ops.aten
# A higher-order operation without a formula runs and is named; older torch cannot skip one, and refuses the model.
_SKIPPING: dict[str, Any] = {
    key: True for key in inspect.signature(FlopCounterMode).parameters if key == "skip_unsupported"
}


@dataclass(frozen=True)
class ModuleCost:
    """What one module costs by itself: its children's cost is in their own rows, so rows add up to the total.

    Attributes:
        name: the qualified name; ``""`` is the model itself.
        kind: the name of the module's class.
        calls: how often it ran.
        num_params: elements of its own parameters; a shared parameter belongs to its first owner.
        num_trainable: those that require a gradient.
        macs: multiply–accumulates of what ran in it, outside its children.
        macs_modules_only: of these, convolutions and products with a parameter, plus their bias additions.
        activations: elements of the outputs of its convolutions and matrix products.
    """

    name: str
    kind: str
    calls: int
    num_params: int
    num_trainable: int
    macs: int
    macs_modules_only: int
    activations: int


@dataclass(frozen=True)
class Counts:
    """What one forward pass in eval mode costs.

    Attributes:
        inputs: what goes in.
        batch: samples in the pass; `macs`, `flops`, `macs_modules_only` and `activations` are for all of them.
        num_params: elements of all parameters, each once.
        num_trainable: those that require a gradient.
        macs: multiply–accumulates of convolutions and matrix products, those of attention included.
        flops: 2 × `macs`; one multiplication and one addition each.
        macs_modules_only: convolution and linear layers with their bias additions, without the products
            between activations: the number most papers print under "FLOPs".
        activations: elements of the outputs of convolutions and matrix products (fvcore's sense; the two
            products of a fused attention count as if written out).
        unknown_ops: operations that ran and have no formula, by name; their cost is in none of the numbers.
        by_module: one row per module that ran or owns parameters; each column adds up to the total above.
    """

    inputs: Inputs
    batch: int
    num_params: int
    num_trainable: int
    macs: int
    flops: int
    macs_modules_only: int
    activations: int
    unknown_ops: tuple[str, ...]
    by_module: tuple[ModuleCost, ...] = field(repr=False)

    @property
    def input_size(self) -> tuple[int, int, int]:
        """C, H, W of one image."""
        return self.inputs.image_size

    @property
    def per_sample(self) -> Counts:
        """The same for one sample of the batch."""
        rows = tuple(_divided(row, self.batch) for row in self.by_module)
        whole: Counts = _divided(self, self.batch)
        return replace(whole, batch=1, by_module=rows)

    def under(self, *names: str) -> ModuleCost:
        """Return one row for the modules `names` and all below them, each once, under the first name."""
        rows = [row for row in self.by_module if any(_is_under(row.name, name) for name in names)]
        return total(rows, names[0] if names else "")


def count(model: nn.Module, input_size: InputSize = (3, 224, 224), batch: int = 1) -> Counts:
    """Count what one forward pass of `model` in eval mode costs.

    Nothing is allocated or computed, and the model is not touched: a copy on fake tensors runs once.

    Args:
        model: any module; its output may be anything.
        input_size: C, H, W of one image, or more, see :meth:`Inputs.of`.
        batch: samples in the pass, if the inputs have no batch of their own.

    Raises:
        ModelError: when the model cannot be copied, or cannot run at this size.
    """
    inputs = Inputs.of(input_size)
    batch = inputs.batch or batch
    hollow, fake = fake_copy(model)
    hollow.eval()

    def run() -> Counts:
        stack = ModuleStack(hollow)
        counter = FlopCounterMode(display=False, custom_mapping=EXTRA_FORMULAS, **_SKIPPING)
        with without_fast_path(), torch.no_grad(), fake, stack, counter:
            ledger = _Ledger(counter, stack, hollow.parameters())
            with ledger:
                args, kwargs = inputs.empty(*home(hollow), batch)
                hollow(*args, **kwargs)
        skipped = counter.get_unsupported_ops() if _SKIPPING else ()
        return _counts(inputs, batch, _rows(stack, ledger), ledger.unknown | set(skipped))

    try:
        with unlogged():
            return with_stand_ins(fake, run)
    except Exception as error:
        raise cannot_run(model, inputs, error) from error


def total(rows: Iterable[ModuleCost], name: str = "") -> ModuleCost:
    """Return the sum of `rows` as one row called `name`, with the kind ``"total"``."""
    rows = tuple(rows)
    return ModuleCost(
        name=name,
        kind="total",
        calls=sum(row.calls for row in rows),
        num_params=sum(row.num_params for row in rows),
        num_trainable=sum(row.num_trainable for row in rows),
        macs=sum(row.macs for row in rows),
        macs_modules_only=sum(row.macs_modules_only for row in rows),
        activations=sum(row.activations for row in rows),
    )


class _Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Books on the innermost module what the flop counter, one mode further out, adds for each operation."""

    supports_higher_order_operators = True

    def __init__(self, counter: FlopCounterMode, stack: ModuleStack, parameters: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = dict.fromkeys(stack.modules, 0)
        self.layer_macs = dict.fromkeys(stack.modules, 0)
        self.activations = dict.fromkeys(stack.modules, 0)
        self.unknown: set[str] = set()
        self._counter = counter
        self._stack = stack
        self._parameters = {_storage(parameter) for parameter in parameters}
        # Outputs of products with a parameter that still may get their bias; held so that no storage is
        # reused.
        self._unbiased: dict[int, Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = self._counter.get_total_flops()
        out = func(*args, **(kwargs or {}))
        macs = (self._counter.get_total_flops() - before) // 2
        packet = getattr(func, "overloadpacket", func)
        if macs:
            self._book(packet, macs, args, out)
        elif packet in (aten.add, aten.add_):
            self._book_late_bias(args, out)
        elif packet not in self._counter.flop_registry and not left_out(func):
            self.unknown.add(str(packet))
        return out

    def _book(self, packet: Any, macs: int, args: Any, out: Any) -> None:
        name = self._stack.innermost
        self.macs[name] += macs
        self.activations[name] += _activations(packet, args, out)
        if packet in CONVOLUTIONS:
            self.layer_macs[name] += macs + (out.numel() if args[2] is not None else 0)
        elif packet in PRODUCTS:
            bias, left, right = PRODUCTS[packet]
            if not self._parameters & {_storage(args[left]), _storage(args[right])}:
                return
            self.layer_macs[name] += macs + (out.numel() if bias is not None else 0)
            if bias is None:
                self._unbiased[_storage(out)] = out

    def _book_late_bias(self, args: Any, out: Tensor) -> None:
        """Book the bias that a linear layer adds by itself, as it does on inputs that are not contiguous."""
        tensors = [arg for arg in args[:2] if isinstance(arg, Tensor)]
        bias = next((t for t in tensors if t.ndim == 1 and _storage(t) in self._parameters), None)
        product = next((t for t in tensors if t is not bias), None)
        if bias is None or product is None or bias.shape[0] != out.shape[-1]:
            return
        if self._unbiased.pop(_storage(product), None) is not None:
            self.layer_macs[self._stack.innermost] += out.numel()


def _divided(costs: Any, batch: int) -> Any:
    names = ("macs", "flops", "macs_modules_only", "activations")
    return replace(costs, **{n: getattr(costs, n) // batch for n in names if hasattr(costs, n)})


def _activations(packet: Any, args: Any, out: Any) -> int:
    if packet in FUSED_ATTENTION:
        query, key, value = args[:3]
        batch_heads_queries = query.shape[:-1].numel()
        return int(batch_heads_queries * (key.shape[-2] + value.shape[-1]))
    return out.numel() if isinstance(out, Tensor) else 0


def _storage(tensor: Tensor) -> int:
    """Return what identifies the memory of `tensor`; its views have the same."""
    return int(tensor.untyped_storage()._cdata)


def _rows(stack: ModuleStack, ledger: _Ledger) -> list[ModuleCost]:
    seen: set[int] = set()
    rows = []
    for name, module in stack.modules.items():
        own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, own))
        row = ModuleCost(
            name=name,
            kind=type(module).__name__,
            calls=stack.calls[name],
            num_params=sum(p.numel() for p in own),
            num_trainable=sum(p.numel() for p in own if p.requires_grad),
            macs=ledger.macs[name],
            macs_modules_only=ledger.layer_macs[name],
            activations=ledger.activations[name],
        )
        if row.calls or row.num_params:
            rows.append(row)
    return rows


def _counts(inputs: Inputs, batch: int, rows: list[ModuleCost], unknown: Iterable[str]) -> Counts:
    whole = total(rows)
    return Counts(
        inputs=inputs,
        batch=batch,
        num_params=whole.num_params,
        num_trainable=whole.num_trainable,
        macs=whole.macs,
        flops=2 * whole.macs,
        macs_modules_only=whole.macs_modules_only,
        activations=whole.activations,
        unknown_ops=tuple(sorted(unknown)),
        by_module=tuple(rows),
    )


def _is_under(name: str, ancestor: str) -> bool:
    return not ancestor or name == ancestor or name.startswith(f"{ancestor}.")
