"""Verify: prove what an edit did, on the model just built, with numbers.

Identity is shown on copies whose BatchNorm statistics and affine values were made random first: many networks start
with the last gamma of a residual branch at zero, and such a network passes an identity test for any block.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from hmhsa_insert.errors import ModelError, Problem, listed
from hmhsa_insert.surgery.fake import deep_copy
from hmhsa_insert.surgery.inputs import InputSize, input_dtype, make_inputs, size_text, tensors_in
from hmhsa_insert.surgery.inserted import InsertedResidual
from hmhsa_insert.surgery.splice import inserted_modules, ledgers
from hmhsa_insert.surgery.trace import output_shapes
from hmhsa_insert.surgery.twice import Traces, kept_buffers
from hmhsa_insert.surgery.undo import bypassed, passing_on, state_before
from hmhsa_insert.surgery.wiring import compare

_BATCH = 2
BASE_WEIGHTS, EVAL, OTHER_SIZE, WIRING, TRAIN, GRADIENTS, ACTS = (
    "base weights",
    "eval outputs",
    "other size",
    "wiring",
    "train outputs",
    "gradients",
    "blocks act",
)


@dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Attributes:
        name: what.
        passed: whether it holds.
        value: the number measured, such as max |Δ|; None where there is none.
        detail: one sentence.
    """

    name: str
    passed: bool
    value: float | None
    detail: str


def verify(
    base: nn.Module, model: nn.Module, input_size: InputSize | None = None, *, gradients: bool = True
) -> tuple[Check, ...]:
    """Check an edited model against its base network; both are left as they were.

    Args:
        base: the network before the edit; it may hold earlier edits.
        model: the network after, from :func:`~hmhsa_insert.surgery.apply.apply` or loaded.
        input_size: where to run; the plan's by default.
        gradients: also run a backward pass.

    Returns:
        Checks in order: base weights, eval outputs, other size, wiring, train outputs, gradients, blocks act (the
        last two with `gradients`). A failed one raises nothing.

    Raises:
        ModelError: `model` was not edited.
    """
    if not ledgers(model):
        raise ModelError(
            Problem(type(model).__name__, "nothing was inserted into this model", "hi.apply makes one")
        )
    size = input_size or ledgers(model)[-1].plan.input_size
    checks = [_base_weights(base, model)]
    subject, reference = deep_copy(model), deep_copy(base)
    _randomise_norms(subject, reference)
    identity = all(ledger.plan.keeps_outputs for ledger in ledgers(model)[len(ledgers(base)) :])
    traces = Traces(reference, subject, size)
    runs: list[tuple[str, Callable[[], Check]]] = [
        (EVAL, lambda: _eval_outputs(reference, subject, size, identity)),
        (OTHER_SIZE, lambda: _other_size(traces, size)),
        (WIRING, lambda: _wiring(traces)),
        (TRAIN, lambda: _train_outputs(reference, subject, size, identity)),
        (GRADIENTS, lambda: _gradients(reference, subject, size)),
        (ACTS, lambda: _blocks_act(reference, subject, size)),
    ]
    wanted = [(name, check) for name, check in runs if gradients or name not in (GRADIENTS, ACTS)]
    with kept_buffers(base, model) as changed:
        checks += [_tried(name, check) for name, check in wanted]
    if changed:
        detail = f"running copies changed {listed(changed[:3])} of the network itself: a global of its code holds it"
        checks = [
            Check(c.name, c.passed and c.name != TRAIN, c.value, detail if c.name == TRAIN else c.detail)
            for c in checks
        ]
    return tuple(checks)


def _tried(name: str, check: Callable[[], Check]) -> Check:
    """Return the check, failed if the network cannot even be run."""
    try:
        return check()
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        return Check(name, False, None, f"the run raises {type(error).__name__}: {reason}".rstrip(": "))


def _base_weights(base: nn.Module, model: nn.Module) -> Check:
    kept = state_before(model, len(ledgers(base)))
    wanted = base.state_dict()
    lost = [key for key in wanted if key not in kept]
    changed = [
        key
        for key, tensor in wanted.items()
        if isinstance(tensor, Tensor) and key in kept and not _same_bits(tensor, kept[key])
    ]
    taken = len(wanted) - len(wanted.keys() & model.state_dict().keys())
    detail = f"{len(wanted) - len(lost) - len(changed)} of {len(wanted)} base tensors byte-identical"
    if taken and not lost:
        detail += f", {taken} of them set aside by replace or remove"
    if lost or changed:
        detail += f"; lost {lost[:3]}, changed {changed[:3]}"
    return Check(BASE_WEIGHTS, not lost and not changed, float(len(lost) + len(changed)), detail)


def _same_bits(left: Tensor, right: Tensor) -> bool:
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    return torch.equal(_bytes(left), _bytes(right).to(left.device))


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().reshape(-1).contiguous().view(torch.uint8)


def _eval_outputs(base: nn.Module, model: nn.Module, size: InputSize, identity: bool) -> Check:
    base.eval(), model.eval()
    wanted, got = _outputs(base, size), _outputs(model, size)
    change = _max_change(wanted, got)
    if not identity:
        return _other_function(EVAL, got, change, "the edit changes the function, as its recipe says")
    if _all_broken(wanted):
        return Check(
            EVAL, False, None, "not one output of the base network is finite: nothing can be compared"
        )
    detail = f"identical to the base network's on {size_text(size)}"
    if 0 < change <= _rounding(wanted):  # memory alignment alone may do this to a copy: one instance decides
        with bypassed(model, len(ledgers(base))):
            wanted = _outputs(model, size)
        alone = _max_change(wanted, got)
        detail = f"max |Δ| {change:.1e} between two copies, {alone:.1e} with and without the blocks in one"
        change = alone
    elif change:
        detail = f"max |Δ| {change:.1e}{_acting(base, model)}"
    return Check(EVAL, change == 0, change, detail)


def _all_broken(outputs: list[Tensor]) -> bool:
    floating = [t for t in outputs if t.is_floating_point() and t.numel()]
    return bool(floating) and not any(bool(t.isfinite().any()) for t in floating)


def _other_function(name: str, outputs: list[Tensor], change: float, detail: str) -> Check:
    """Return the check of a network that is to compute something else: finite numbers of the base's shapes."""
    finite = math.isfinite(change) and all(bool(t.isfinite().all()) for t in outputs)
    return Check(name, finite, change, detail if finite else "outputs are not finite, or of another shape")


def _rounding(outputs: list[Tensor]) -> float:
    """Return what another order of the same sums may change."""
    floating = [t for t in outputs if t.is_floating_point() and t.numel()]
    return max(
        (min(1e3 * torch.finfo(t.dtype).eps, 1e-2) * float(t.abs().max()) for t in floating), default=0.0
    )


def _new_modules(base: nn.Module, model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the key and the module of everything that `model` has beyond `base`."""
    before = {key for key, _ in inserted_modules(base)}
    return [(key, module) for key, module in inserted_modules(model) if key not in before]


def _acting(base: nn.Module, model: nn.Module) -> str:
    """Say which block acts already: an identity insertion begins with gamma = 0."""
    new = _new_modules(base, model)
    acting = [key for key, module in new for gamma in _gammas(module) if bool(gamma.any())]
    return f": gamma of '{acting[0]}' is not zero" if acting else ""


def _train_outputs(base: nn.Module, model: nn.Module, size: InputSize, identity: bool) -> Check:
    base.train(), model.train()
    wanted, got = _outputs(base, size), _outputs(model, size)
    change = _max_change(wanted, got)
    if not identity:
        return _other_function(TRAIN, got, change, "runs in train mode under one seed")
    statistics = _statistics_change(base, model)
    detail = "outputs and running statistics identical under one seed"
    if change or statistics:
        detail = f"max |Δ| {change:.1e}, running statistics {statistics:.1e}"
    return Check(TRAIN, change == 0 and statistics == 0, max(change, statistics), detail)


def _statistics_change(base: nn.Module, model: nn.Module) -> float:
    after = state_before(model, len(ledgers(base)))
    moved = [(tensor, after[key]) for key, tensor in base.named_buffers() if key in after]
    return max((_difference(a, b) for a, b in moved), default=0.0)


def _other_size(traces: Traces, size: InputSize) -> Check:
    """Check the shapes at another size, on fake tensors: nothing is computed."""
    if traces.base is None or traces.at == size:
        return Check(OTHER_SIZE, True, None, f"the base network takes {size_text(size)} only")
    if isinstance(traces.edited, ModelError):
        return Check(OTHER_SIZE, False, None, str(traces.edited))
    wanted, got = output_shapes(traces.base), output_shapes(traces.edited)
    detail = f"runs on {size_text(traces.at)} with the base network's shapes"
    if got != wanted:
        detail = (
            f"returns {_shape_text(got)} on {size_text(traces.at)}, the base network {_shape_text(wanted)}"
        )
    return Check(OTHER_SIZE, got == wanted, None, detail)


def _shape_text(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join("×".join(map(str, shape)) for shape in shapes)


def _wiring(traces: Traces) -> Check:
    """Check that every reader of a map reads what its block makes of it, and that nothing else is other."""
    if traces.base is None or isinstance(traces.edited, ModelError):
        return Check(WIRING, False, None, f"it cannot be traced: {traces.edited}")
    found = compare(traces.base, traces.edited, traces.sites, by_module=not traces.is_graph)
    operations = sum(node.op == "call_function" for node in traces.base.nodes)
    detail = f"{operations} operations as in the base network, {len(traces.sites)} edits on all readers of their maps"
    return Check(
        WIRING, not found.problems, float(len(found.problems)), "; ".join(found.problems[:2]) or detail
    )


def _gradients(base: nn.Module, model: nn.Module, size: InputSize) -> Check:
    """Check that a gradient reaches every new parameter once each gamma has left zero."""
    subject = model.train()
    for parameter in subject.parameters():
        if parameter.is_leaf:  # those of a copied scripted module are none
            parameter.requires_grad_(False)  # gradients of the base's cost time and prove nothing
    blocks = _new_modules(base, subject)
    for _, module in blocks:
        module.requires_grad_(True)
        for gamma in _gammas(module):
            nn.init.constant_(gamma, 0.1)
    with torch.enable_grad():
        reached = [t.float().pow(2).mean() for t in _outputs(subject, size, grad=True) if t.requires_grad]
        if reached:
            torch.stack(reached).sum().backward()  # type: ignore[no-untyped-call]
    new = [(f"{key}.{n}", p) for key, module in blocks for n, p in module.named_parameters()]
    missing = [name for name, parameter in new if parameter.grad is None]
    broken = [name for name, p in new if p.grad is not None and not bool(p.grad.isfinite().all())]
    detail = f"reach {len(new) - len(missing) - len(broken)} of {len(new)} new parameters"
    if not new:
        detail = "there are no new parameters"
    if missing:
        detail += f"; not {missing[:3]}"
    if broken:
        detail += f"; not finite at {broken[:3]}"
    return Check(GRADIENTS, not missing and not broken, float(len(missing) + len(broken)), detail)


def _gammas(module: nn.Module) -> list[nn.Parameter]:
    """Return the gammas of inserted blocks in `module`, which may be wrapped by now."""
    parts = (part for part in module.modules() if isinstance(part, InsertedResidual))
    return [part.gamma for part in parts if part.gamma is not None]


def _blocks_act(base: nn.Module, model: nn.Module, size: InputSize) -> Check:
    """Check that each block, its gamma not zero any more, moves the outputs.

    A gradient that is not zero shows it; where no gradient can come, the outputs with and without the block do.
    """
    blocks = _new_modules(base, model)
    still = [
        (key, module)
        for key, module in blocks
        if not any(p.grad is not None and bool(p.grad.any()) for p in module.parameters())
    ]
    idle = [key for key, module in still if not _moves(model, module, size)]
    detail = f"each of {len(blocks)} moves the outputs once its gamma is not zero"
    if idle:
        detail = f"{listed(idle[:3])} of {len(blocks)} cannot change the outputs"
    return Check(ACTS, not idle, float(len(idle)), detail)


def _moves(model: nn.Module, module: nn.Module, size: InputSize) -> bool:
    for training in (False, True):
        model.train(training)
        with_block = _outputs(model, size)
        with passing_on(module):
            without = _outputs(model, size)
        if _max_change(without, with_block) != 0:
            return True
    return False


def _outputs(model: nn.Module, size: InputSize, batch: int = _BATCH, grad: bool = False) -> list[Tensor]:
    """Run `model` on one fixed random input under one fixed seed; the global random state is left alone."""
    parameter = next(model.parameters(), torch.empty(0))
    dtype = input_dtype(model)
    devices = [parameter.device] if parameter.is_cuda else []
    with torch.random.fork_rng(devices=devices), torch.set_grad_enabled(grad):
        torch.manual_seed(0)
        args, kwargs = make_inputs(size, batch, lambda shape: torch.randn(shape).to(parameter.device, dtype))
        output = model(*args, **kwargs)
    return [tensor for _, tensor in tensors_in(output)]


def _max_change(wanted: list[Tensor], got: list[Tensor]) -> float:
    if [t.shape for t in wanted] != [t.shape for t in got]:
        return float("inf")
    return max((_difference(a, b) for a, b in zip(wanted, got, strict=True)), default=0.0)


def _difference(a: Tensor, b: Tensor) -> float:
    """Return max |a − b|; NaN in the same places is no difference, NaN in one alone is infinite."""
    if a.numel() == 0:
        return 0.0
    infinite = a.isinf() | b.isinf()
    if (a.isnan() != b.isnan()).any() or (a != b)[infinite].any():
        return float("inf")
    return float((a.double() - b.double()).abs().nan_to_num(0.0, posinf=0.0).max())


def _randomise_norms(*models: nn.Module) -> None:
    """Give BatchNorm of all models the same random affine values and running statistics, by name."""
    for model in models:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(1)
            new = {id(m) for _, inserted in inserted_modules(model) for m in inserted.modules()}
            for module in model.modules():
                if isinstance(module, _NormBase) and id(module) not in new:
                    _randomise(module)


def _randomise(norm: _NormBase) -> None:
    draws: tuple[tuple[Tensor | None, Callable[[tuple[int, ...]], Tensor]], ...] = (
        (norm.weight, lambda shape: torch.rand(shape) + 0.5),
        (norm.bias, lambda shape: torch.randn(shape) * 0.1),
        (norm.running_mean, lambda shape: torch.randn(shape) * 0.1),
        (norm.running_var, lambda shape: torch.rand(shape) + 0.5),
    )
    for tensor, draw in draws:
        if tensor is not None:
            tensor.copy_(draw(tuple(tensor.shape)))
