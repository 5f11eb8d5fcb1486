"""Verify: measure what an edit did to a model, on the model that was just built.

Identity is checked on copies whose BatchNorm statistics and affine values are randomized first: many networks
start with the last gamma of a residual branch at zero, and such a network would pass an identity test with
any block.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.errors import ModelError, Problem, listed
from hmhsa_insert.surgery.base.fake import deep_copy
from hmhsa_insert.surgery.base.given import inputs_of
from hmhsa_insert.surgery.base.inputs import Inputs, InputSize
from hmhsa_insert.surgery.edit.splice import ledgers
from hmhsa_insert.surgery.edit.undo import bypassed, state_before
from hmhsa_insert.surgery.locate.trace import output_shapes
from hmhsa_insert.surgery.proof.acting import (
    ACTS,
    GRADIENTS,
    check_acting,
    check_gradients,
    gammas,
    new_modules,
    outputs,
)
from hmhsa_insert.surgery.proof.checks import Check, Checks
from hmhsa_insert.surgery.proof.twice import Traces, difference, kept_buffers, max_change, randomize_norms
from hmhsa_insert.surgery.proof.wiring import compare

BASE_WEIGHTS, EVAL, OTHER_SIZE, WIRING, TRAIN = (
    "base weights",
    "eval outputs",
    "other size",
    "wiring",
    "train outputs",
)


@reads_arguments
def verify(
    base: nn.Module,
    model: nn.Module,
    input_size: InputSize = None,
    *,
    inputs: InputSize = None,
    gradients: bool = True,
) -> Checks:
    """Check an edited model against the model it was made from; neither is changed.

    The checks run on copies: forward passes in eval and in train mode, and one backward pass.

    Args:
        base: the model before the edit; it may hold earlier edits.
        model: the model after the edit, from :func:`hi.apply <hmhsa_insert.surgery.apply.apply>` or
            ``hi.load``.
        input_size: of the images to run on: 96 for squares, ``(H, W)`` or ``(C, H, W)``; by default the inputs that
            the edit was planned with. For models with several inputs, see :meth:`Inputs.of`.
        inputs: example tensors, used instead of `input_size`: one, a tuple by position, or a dict by name.
        gradients: whether to run the backward pass and the two checks that need it.

    Returns:
        One check each for: base weights, eval outputs, other size, wiring, train outputs, and with
            `gradients` also gradients and blocks act. Each has ``name``, ``passed``, ``value`` and
            ``detail``; a failed check does not raise. All together are a tuple, which prints as a table.

    Raises:
        ModelError: `model` was not edited, one of the two cannot be copied, or the inputs are not described
            correctly.

    Example:
        >>> import timm
        >>> import hmhsa_insert as hi
        >>> model = timm.create_model("test_resnet", num_classes=10)
        >>> edited = hi.apply(model, "stage3.yaml", input_size=(3, 64, 64))
        >>> for check in hi.verify(model, edited):
        ...     print(check.name, check.passed, check.value)
        base weights True 0.0
        eval outputs True 0.0
        other size True None
        wiring True 0.0
        train outputs True 0.0
        gradients True 0.0
        blocks act True 0.0
    """
    if not ledgers(model):
        raise ModelError(
            Problem(
                type(model).__name__, "nothing was inserted into this model", "hi.apply makes an edited model"
            )
        )
    planned = ledgers(model)[-1].plan.inputs
    size = inputs_of(model, planned if input_size is None else input_size, inputs)
    size = size if size.batch else Inputs.of(size, planned.batch)
    checks = [_base_weights(base, model)]
    subject, reference = deep_copy(model), deep_copy(base)
    randomize_norms(subject, reference)
    identity = all(ledger.plan.keeps_outputs for ledger in ledgers(model)[len(ledgers(base)) :])
    traces = Traces(reference, subject, size)
    runs: list[tuple[str, Callable[[], Check]]] = [
        (EVAL, lambda: _eval_outputs(reference, subject, size, identity)),
        (OTHER_SIZE, lambda: _other_size(traces, size)),
        (WIRING, lambda: _wiring(traces)),
        (TRAIN, lambda: _train_outputs(reference, subject, size, identity)),
        (GRADIENTS, lambda: check_gradients(reference, subject, size)),
        (ACTS, lambda: check_acting(reference, subject, size)),
    ]
    wanted = [(name, check) for name, check in runs if gradients or name not in (GRADIENTS, ACTS)]
    with kept_buffers(base, model) as changed:
        checks += [_tried(name, check) for name, check in wanted]
    if changed:
        detail = f"running copies changed {listed(changed[:3])} of the network itself: a global in its code holds it"
        checks = [
            Check(c.name, c.passed and c.name != TRAIN, c.value, detail if c.name == TRAIN else c.detail)
            for c in checks
        ]
    return Checks(checks)


def _tried(name: str, check: Callable[[], Check]) -> Check:
    """Run a check; an exception becomes a failed check."""
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
    return torch.equal(_bits(left), _bits(right).to(left.device))


# As integers of the same width: a byte at a time takes four times as long.
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def _bits(tensor: Tensor) -> Tensor:
    flat = tensor.detach().reshape(-1).contiguous()
    return flat.view(_INTEGERS.get(tensor.element_size(), torch.uint8))


def _eval_outputs(base: nn.Module, model: nn.Module, size: Inputs, identity: bool) -> Check:
    base.eval(), model.eval()
    wanted, got = outputs(base, size), outputs(model, size)
    change = max_change(wanted, got)
    if not identity:
        return _other_function(EVAL, got, change, "the edit changes the function, as its recipe says")
    if _all_broken(wanted):
        return Check(
            EVAL, False, None, "not one output of the base network is finite: nothing can be compared"
        )
    detail = f"identical to the base network's on {size}"
    if 0 < change <= _rounding(wanted):  # memory alignment alone may do this to a copy: one instance decides
        with bypassed(model, len(ledgers(base))):
            wanted = outputs(model, size)
        alone = max_change(wanted, got)
        detail = f"max |Δ| {change:.1e} between two copies, {alone:.1e} with and without the blocks in one"
        change = alone
    elif change:
        detail = f"max |Δ| {change:.1e}{_acting(base, model)}"
    return Check(EVAL, change == 0, change, detail)


def _all_broken(outputs: list[Tensor]) -> bool:
    floating = [t for t in outputs if t.is_floating_point() and t.numel()]
    return bool(floating) and not any(bool(t.isfinite().any()) for t in floating)


def _other_function(name: str, outputs: list[Tensor], change: float, detail: str) -> Check:
    """Check a network that may compute something else: outputs of the base network's shapes, finite."""
    finite = math.isfinite(change) and all(bool(t.isfinite().all()) for t in outputs)
    return Check(name, finite, change, detail if finite else "outputs are not finite, or of another shape")


def _rounding(outputs: list[Tensor]) -> float:
    """Return the largest difference that summing in another order can make."""
    floating = [t for t in outputs if t.is_floating_point() and t.numel()]
    return max(
        (min(1e3 * torch.finfo(t.dtype).eps, 1e-2) * float(t.abs().max()) for t in floating), default=0.0
    )


def _acting(base: nn.Module, model: nn.Module) -> str:
    """Name the block whose gamma is not zero, which an identity insertion requires at the start."""
    new = new_modules(base, model)
    acting = [key for key, module in new for gamma in gammas(module) if bool(gamma.any())]
    return f": gamma of '{acting[0]}' is not zero" if acting else ""


def _train_outputs(base: nn.Module, model: nn.Module, size: Inputs, identity: bool) -> Check:
    base.train(), model.train()
    wanted, got = outputs(base, size), outputs(model, size)
    change = max_change(wanted, got)
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
    return max((difference(a, b) for a, b in moved), default=0.0)


def _other_size(traces: Traces, size: Inputs) -> Check:
    """Check the output shapes at another input size, on fake tensors: nothing is computed."""
    if traces.base is None or traces.at == size:
        return Check(OTHER_SIZE, True, None, f"the base network takes {size} only")
    if isinstance(traces.edited, ModelError):
        return Check(OTHER_SIZE, False, None, str(traces.edited))
    wanted, got = output_shapes(traces.base), output_shapes(traces.edited)
    detail = f"runs on {traces.at} with the base network's shapes"
    if got != wanted:
        detail = f"returns {_shape_text(got)} on {traces.at}, the base network {_shape_text(wanted)}"
    return Check(OTHER_SIZE, got == wanted, None, detail)


def _shape_text(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join("×".join(map(str, shape)) for shape in shapes)


def _wiring(traces: Traces) -> Check:
    """Check that every reader of a map reads the output of its block, and that nothing else changed."""
    if traces.base is None or isinstance(traces.edited, ModelError):
        return Check(WIRING, False, None, f"it cannot be traced: {traces.edited}")
    found = compare(traces.base, traces.edited, traces.sites, by_module=not traces.is_graph)
    operations = sum(node.op == "call_function" for node in traces.base.nodes)
    detail = f"{operations} operations as in the base network, and all readers of a map read its block"
    return Check(
        WIRING, not found.problems, float(len(found.problems)), "; ".join(found.problems[:2]) or detail
    )
