"""Copies of a model with other tensors as weights, above all fake ones: shapes without storage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn

from hmhsa_insert.errors import ModelError, Problem, first_line
from hmhsa_insert.surgery.base.copying import copied
from hmhsa_insert.surgery.base.inputs import tensors_in
from hmhsa_insert.surgery.python.closures import Rebinding, drop_users_hooks
from hmhsa_insert.torch_private import FakeTensor, FakeTensorMode, unset_fake_temporarily

M = TypeVar("M", bound=nn.Module)

# Where an edited model keeps what undoes its edits, outside the module tree; these copies do not have it.
LEDGER = "_hmhsa_insert_ledger"


def notes(model: nn.Module) -> dict[str, Any]:
    """Return where a model keeps data about itself; copies of a GraphModule keep only ``meta``."""
    kept: dict[str, Any] = vars(model)
    return kept.setdefault("meta", {}) if isinstance(model, fx.GraphModule) else kept


def fake_copy(
    model: nn.Module,
    mode: FakeTensorMode,
    meta_as: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    users_hooks: bool = True,
) -> nn.Module:
    """Return a deep copy of `model` in eval mode, with fake tensors of `mode` as parameters and buffers.

    Nothing is allocated for weights. Shared weights stay shared; `model` is untouched.

    Args:
        model: any module; its own tensors may be real, on the meta device, or already fake.
        mode: to run the copy under.
        meta_as: device of the fake tensors for weights on the meta device, so that real inputs match them.
        dtype: the floating dtype of the copy; by default each tensor keeps its own.
        users_hooks: whether to keep the user's own hooks, which would see fake tensors.

    Raises:
        ModelError: the model cannot be deep-copied.
    """

    def swap(tensor: Tensor) -> Tensor:
        wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        is_meta = tensor.is_meta and not isinstance(tensor, FakeTensor)
        # Neither torch.empty under the mode nor nn.Parameter(fake): each costs more than the rest of the copy.
        with unset_fake_temporarily():
            hollow = torch.empty_strided(tensor.shape, tensor.stride(), dtype=wanted, device="meta")
            fake = FakeTensor(mode, hollow, torch.device(meta_as) if is_meta else tensor.device)
            if isinstance(tensor, nn.Parameter):
                fake.requires_grad_(tensor.requires_grad)
                fake._is_param = True
        return fake

    twin = swapped_copy(model, swap)
    if not users_hooks:
        drop_users_hooks(twin, model)
    return twin.eval()


def hollow_copy(model: nn.Module) -> nn.Module:
    """Return a deep copy of `model` on the meta device, which takes no memory for weights.

    Raises:
        ModelError: the model cannot be deep-copied.
    """

    def swap(tensor: Tensor) -> Tensor:
        hollow = tensor.detach().to("meta")
        return nn.Parameter(hollow, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else hollow

    return swapped_copy(model, swap)


def swapped_copy(model: nn.Module, swap: Callable[[Tensor], Tensor]) -> nn.Module:
    """Return a deep copy of `model` whose parameters and buffers are what `swap` returns for them.

    The copy's memo holds the new tensors beforehand, so that ``deepcopy`` never clones a weight. Tied tensors
    stay tied, and the copy's hooks are bound to its own modules.

    Raises:
        ModelError: the model cannot be deep-copied.
    """
    memo: dict[int, object] = {}
    with (
        torch._C.DisableTorchFunction()
    ):  # a mode that is on would be asked for every attribute of every tensor
        for tensor in (*model.parameters(), *model.buffers()):
            if id(tensor) not in memo:
                memo[id(tensor)] = swap(tensor)
    if LEDGER in notes(model):
        memo[id(notes(model)[LEDGER])] = []
    return deep_copy(model, memo)


def deep_copy(model: M, memo: dict[int, object] | None = None) -> M:
    """Return a deep copy of `model`, even if it keeps computed tensors, which ``copy.deepcopy`` refuses.

    Such a tensor is a weight that every forward computes (``torch.nn.utils.weight_norm``) or a map kept for
    later. Functions that refer to the model, such as a ``forward`` set on a module, refer to the copy in the
    copy.

    Args:
        model: any module.
        memo: the objects of the copy, by the ids of the original objects.

    Raises:
        ModelError: the model cannot be deep-copied.
    """
    memo = {} if memo is None else memo
    for module in model.modules():
        kept = {key: value for key, value in vars(module).items() if not key.startswith("_")}
        for _, tensor in tensors_in(kept):
            if not tensor.is_leaf and id(tensor) not in memo:
                memo[id(tensor)] = tensor.detach().clone()
    try:
        with unset_fake_temporarily():  # a tensor that is an ordinary attribute is copied as it is
            rebinding = Rebinding(model)
            rebinding.start(memo)
            twin = copied(model, memo)
            rebinding.finish(memo)
            return twin
    except Exception as error:
        reason = first_line(error)
        raise ModelError(Problem(type(model).__name__, f"cannot be copied: {reason}")) from error
