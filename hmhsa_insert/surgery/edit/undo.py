"""Undo: the base network of an edited one, and its weights, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.errors import ModelError, Problem
from hmhsa_insert.surgery.base.fake import deep_copy
from hmhsa_insert.surgery.edit.graph_node import remove_node
from hmhsa_insert.surgery.edit.inserted import RunsChild
from hmhsa_insert.surgery.edit.rewrite import restore_forward
from hmhsa_insert.surgery.edit.splice import Change, keys_of, ledgers, set_ledgers, set_module
from hmhsa_insert.surgery.edit.wrapping import unwrap


@reads_arguments
def remove(model: nn.Module) -> nn.Module:
    """Undo all edits on a copy of an edited model; the edited model itself is not changed.

    Args:
        model: a model from ``hi.apply`` or ``hi.load``.

    Returns:
        The model as it was before the first edit, of its original class. Its weights are those that `model`
        has now: the original ones if it was not trained since.

    Raises:
        ModelError: the model was not edited, cannot be copied, or is a ``GraphModule`` (``backend="graph"``),
            which no longer has the original classes.

    Example:
        >>> import timm, torch
        >>> import hmhsa_insert as hi
        >>> model = timm.create_model("test_resnet", num_classes=10)
        >>> edited = hi.apply(model, "stage3.yaml", input_size=(3, 64, 64))
        >>> restored = hi.remove(edited)
        >>> restored.state_dict().keys() == model.state_dict().keys()
        True
        >>> torch.equal(restored.fc.weight, model.fc.weight)
        True
    """
    _edited(model)
    if any(ledger.backend == "graph" for ledger in ledgers(model)):
        message = "a GraphModule has lost the base network's classes"
        raise ModelError(Problem(type(model).__name__, message, "use backend='tree', or hi.base_state_dict"))
    base = deep_copy(model)
    for ledger in reversed(ledgers(base)):
        for change in reversed(ledger.changes):
            _UNDO[change.site.action](base, change)
    set_ledgers(base, [])
    return base


@reads_arguments
def base_state_dict(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the state dict that an edited model would have without its edits.

    Args:
        model: a model from ``hi.apply`` or ``hi.load``, with either backend.

    Returns:
        The tensors of the model before the first edit, under their original keys, on the model's device. They
        share memory with `model`, as those of ``model.state_dict()`` do.

    Raises:
        ModelError: the model was not edited.

    Example:
        >>> import timm
        >>> import hmhsa_insert as hi
        >>> model = timm.create_model("test_resnet", num_classes=10)
        >>> edited = hi.apply(model, "stage3.yaml", input_size=(3, 64, 64))
        >>> len(edited.state_dict()), len(hi.base_state_dict(edited))
        (98, 92)
        >>> model.load_state_dict(hi.base_state_dict(edited))
        <All keys matched successfully>
    """
    _edited(model)
    return state_before(model, 0)


def state_before(model: nn.Module, done: int) -> dict[str, torch.Tensor]:
    """Return the state dict that the network would have after the first `done` of its edits."""
    state: dict[str, torch.Tensor] = dict(model.state_dict())
    for ledger in reversed(ledgers(model)[done:]):
        new = keys_of(state, ledger.plan.new_keys)
        state = {key: tensor for key, tensor in state.items() if key not in new}
        for name, tensor in displaced_state(ledger.changes):
            state[name] = tensor
    return state


def displaced_state(changes: list[Change], keep_vars: bool = False) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield key and tensor of all parameters and buffers of displaced modules, under every name they had.

    `keep_vars` is passed to ``state_dict``.
    """
    for change in changes:
        # An unstrided module stays in the tree, or gives its place to one without parameters.
        if change.displaced is not None and change.site.action != "unstride":
            for name in change.names:
                for key, tensor in change.displaced.state_dict(keep_vars=keep_vars).items():
                    yield f"{name}.{key}", tensor


@contextmanager
def bypassed(model: nn.Module, done: int = 0) -> Iterator[None]:
    """Run `model` itself without the blocks inserted after its first `done` edits, inside a ``with``.

    For plans that insert only: replaced or removed modules do not return.
    """
    keys = [key for ledger in ledgers(model)[done:] for key in ledger.plan.new_keys]
    with passing_on(*(model.get_submodule(key) for key in keys)):
        yield


@contextmanager
def passing_on(*modules: nn.Module) -> Iterator[None]:
    """Let modules return their input, inside a ``with``."""
    # A user may have set a forward on the instance, which has to come back.
    saved = [(module, module.__dict__.get("forward")) for module in modules]
    for module in modules:
        module.__dict__["forward"] = _unchanged
    try:
        yield
    finally:
        for module, forward in reversed(saved):
            module.__dict__.pop("forward", None)
            if forward is not None:
                module.__dict__["forward"] = forward


def _unchanged(x: torch.Tensor) -> torch.Tensor:
    return x


def _edited(model: nn.Module) -> None:
    if not ledgers(model):
        message = "nothing was inserted into this model"
        raise ModelError(Problem(type(model).__name__, message, "hi.apply makes an edited model"))


def _unhook(model: nn.Module, change: Change) -> None:
    host = model.get_submodule(change.site.qualname)
    del host._modules[change.site.child]
    registries: tuple[dict[int, Any], ...] = (host._forward_hooks, host._forward_pre_hooks)
    for registered in registries:
        for number, hook in list(registered.items()):
            ours = RunsChild.of_hook(hook)
            if ours is not None and ours.name == change.site.child:
                del registered[number]
                host._forward_pre_hooks_with_kwargs.pop(number, None)


def _unwrap(model: nn.Module, change: Change) -> None:
    unwrap(model.get_submodule(change.site.qualname), change.site.child)


def _take_node(model: nn.Module, change: Change) -> None:
    remove_node(model.get_submodule(change.site.qualname), change.site.child)


def _restore_forward(model: nn.Module, change: Change) -> None:
    host = model.get_submodule(change.site.qualname)
    del host._modules[change.site.child]
    restore_forward(host)


def _put_back(model: nn.Module, change: Change) -> None:
    assert change.displaced is not None
    reference = next((p for p in model.parameters() if p.is_floating_point()), None)
    if reference is not None:  # the displaced module was outside of the tree when the model was moved
        change.displaced.to(device=reference.device, dtype=reference.dtype)
    mode = model.get_submodule(change.names[0]).training
    if change.displaced.training != mode:  # train() would also change parts that are frozen in another mode
        change.displaced.train(mode)
    for name in change.names:
        set_module(model, name, change.displaced)


def _restride(model: nn.Module, change: Change) -> None:
    assert change.displaced is not None
    for name, value in change.attributes.items():
        change.displaced.__dict__[name] = value
    for name in change.names:
        set_module(model, name, change.displaced)


_UNDO: dict[str, Callable[[nn.Module, Change], None]] = {
    "hook_output": _unhook,
    "hook_input": _unhook,
    "expression": _unwrap,
    "graph": _take_node,
    "rewrite": _restore_forward,
    "swap": _put_back,
    "drop": _put_back,
    "unstride": _restride,
}
