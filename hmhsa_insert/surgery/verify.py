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

from hmhsa_insert.errors import ModelError, Problem
from hmhsa_insert.surgery.fake import deep_copy
from hmhsa_insert.surgery.inputs import BATCH, Inputs, InputSize, input_dtype, tensors_in
from hmhsa_insert.surgery.maps import other_size
from hmhsa_insert.surgery.seeded import seeded
from hmhsa_insert.surgery.splice import inserted_modules, ledgers
from hmhsa_insert.surgery.trace import output_shapes, trace
from hmhsa_insert.surgery.undo import bypassed, state_before

BASE_WEIGHTS, EVAL, OTHER_SIZE, TRAIN, GRADIENTS = (
    "base weights",
    "eval outputs",
    "other size",
    "train outputs",
    "gradients",
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
    base: nn.Module,
    model: nn.Module,
    input_size: InputSize = None,
    *,
    inputs: InputSize = None,
    gradients: bool = True,
) -> tuple[Check, ...]:
    """Check an edited model against its base network; both are left as they were.

    Args:
        base: the network before the edit; it may hold earlier edits.
        model: the network after, from :func:`~hmhsa_insert.surgery.apply.apply` or loaded.
        input_size: where to run, see :meth:`Inputs.of`; what the plan was made with by default.
        inputs: in its place: example tensors, by position in a tuple, by name in a dict.
        gradients: also run a backward pass.

    Returns:
        Checks in order: base weights, eval outputs, other size, train outputs, gradients. A failed one raises
        nothing.

    Raises:
        ModelError: `model` was not edited.
    """
    if not ledgers(model):
        raise ModelError(
            Problem(type(model).__name__, "nothing was inserted into this model", "hi.apply makes one")
        )
    planned = ledgers(model)[-1].plan.inputs
    size = Inputs.of(next(given for given in (inputs, input_size, planned) if given is not None))
    size = size if size.batch else Inputs.of(size, planned.batch)
    checks = [_base_weights(base, model)]
    subject, reference = deep_copy(model), deep_copy(base)
    _randomise_norms(subject, reference)
    identity = all(ledger.plan.keeps_outputs for ledger in ledgers(model)[len(ledgers(base)) :])
    runs: list[tuple[str, Callable[[], Check]]] = [
        (EVAL, lambda: _eval_outputs(reference, subject, size, identity)),
        (OTHER_SIZE, lambda: _other_size(reference, subject, size)),
        (TRAIN, lambda: _train_outputs(reference, subject, size, identity)),
        (GRADIENTS, lambda: _gradients(reference, subject, size)),
    ]
    return (*checks, *(_tried(name, check) for name, check in runs if gradients or name != GRADIENTS))


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


def _eval_outputs(base: nn.Module, model: nn.Module, size: Inputs, identity: bool) -> Check:
    base.eval(), model.eval()
    wanted, got = _outputs(base, size), _outputs(model, size)
    change = _max_change(wanted, got)
    if not identity:
        return _other_function(EVAL, got, change, "the edit changes the function, as its recipe says")
    if _all_broken(wanted):
        return Check(
            EVAL, False, None, "not one output of the base network is finite: nothing can be compared"
        )
    detail = f"identical to the base network's on {size}"
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
    gammas = ((key, getattr(module, "gamma", None)) for key, module in _new_modules(base, model))
    acting = [key for key, gamma in gammas if isinstance(gamma, Tensor) and bool(gamma.any())]
    return f": gamma of '{acting[0]}' is not zero" if acting else ""


def _train_outputs(base: nn.Module, model: nn.Module, size: Inputs, identity: bool) -> Check:
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


def _other_size(base: nn.Module, model: nn.Module, size: Inputs) -> Check:
    """Check the shapes at another size, on fake tensors: nothing is computed."""
    other = other_size(size)
    try:
        wanted = _shapes(base, other)
    except ModelError:
        return Check(OTHER_SIZE, True, None, f"the base network takes {size} only")
    try:
        got = _shapes(model, other)
    except ModelError as error:
        return Check(OTHER_SIZE, False, None, str(error))
    detail = f"runs on {other} with the base network's shapes"
    if got != wanted:
        detail = f"returns {_shape_text(got)} on {other}, the base network {_shape_text(wanted)}"
    return Check(OTHER_SIZE, got == wanted, None, detail)


def _shape_text(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join("×".join(map(str, shape)) for shape in shapes)


def _shapes(model: nn.Module, size: Inputs) -> list[tuple[int, ...]]:
    return output_shapes(trace(model, size))


def _gradients(base: nn.Module, model: nn.Module, size: Inputs) -> Check:
    """Check that a gradient reaches every new parameter once each gamma has left zero."""
    subject = model.train()
    for parameter in subject.parameters():
        if parameter.is_leaf:  # those of a copied scripted module are none
            parameter.requires_grad_(False)  # gradients of the base's cost time and prove nothing
    blocks = _new_modules(base, subject)
    for _, module in blocks:
        module.requires_grad_(True)
        gamma = getattr(module, "gamma", None)
        if isinstance(gamma, nn.Parameter):
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


def _outputs(model: nn.Module, size: Inputs, batch: int = BATCH, grad: bool = False) -> list[Tensor]:
    """Run `model` on one fixed random input under one fixed seed of every generator; each is left as it was."""
    parameter = next(model.parameters(), torch.empty(0))
    with seeded(model, 0), torch.set_grad_enabled(grad):
        args, kwargs = size.drawn(input_dtype(model), parameter.device, batch)
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
