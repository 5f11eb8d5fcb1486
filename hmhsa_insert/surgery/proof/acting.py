"""The checks that the new blocks can act and learn: gradients reach them, and they move the outputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hmhsa_insert.errors import listed
from hmhsa_insert.surgery.base.inputs import BATCH, Inputs, input_dtype, tensors_in
from hmhsa_insert.surgery.base.seeded import seeded
from hmhsa_insert.surgery.edit.inserted import InsertedResidual
from hmhsa_insert.surgery.edit.splice import inserted_modules
from hmhsa_insert.surgery.edit.undo import passing_on
from hmhsa_insert.surgery.proof.checks import Check
from hmhsa_insert.surgery.proof.twice import max_change

GRADIENTS, ACTS = "gradients", "blocks act"


def check_gradients(base: nn.Module, model: nn.Module, size: Inputs) -> Check:
    """Check that a gradient reaches every new parameter if no gamma is zero."""
    subject = model.train()
    for parameter in subject.parameters():
        if parameter.is_leaf:  # those of a copied scripted module are not
            parameter.requires_grad_(False)  # gradients of the base network's cost time and prove nothing
    blocks = new_modules(base, subject)
    for _, module in blocks:
        module.requires_grad_(True)
        # At zero, only gamma itself would get a gradient that is not zero.
        for gamma in gammas(module):
            nn.init.constant_(gamma, 0.1)
    with torch.enable_grad():
        reached = [t.float().pow(2).mean() for t in outputs(subject, size, grad=True) if t.requires_grad]
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


def gammas(module: nn.Module) -> list[nn.Parameter]:
    """Return the gammas of inserted blocks in `module`, which a user may have wrapped."""
    parts = (part for part in module.modules() if isinstance(part, InsertedResidual))
    return [part.gamma for part in parts if part.gamma is not None]


def check_acting(base: nn.Module, model: nn.Module, size: Inputs) -> Check:
    """Check that each block changes the outputs if its gamma is not zero; to be called after the gradients.

    A gradient that is not zero shows it. For blocks without gradient, the outputs with and without the block
    are compared.
    """
    blocks = new_modules(base, model)
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


def _moves(model: nn.Module, module: nn.Module, size: Inputs) -> bool:
    for training in (False, True):
        model.train(training)
        with_block = outputs(model, size)
        with passing_on(module):
            without = outputs(model, size)
        if max_change(without, with_block) != 0:
            return True
    return False


def new_modules(base: nn.Module, model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return key and module of everything that was inserted into `model` and not into `base`."""
    before = {key for key, _ in inserted_modules(base)}
    return [(key, module) for key, module in inserted_modules(model) if key not in before]


def outputs(model: nn.Module, size: Inputs, batch: int = BATCH, grad: bool = False) -> list[Tensor]:
    """Run `model` on one fixed random input, with every generator seeded and restored afterwards."""
    parameter = next(model.parameters(), torch.empty(0))
    with seeded(model, 0), torch.set_grad_enabled(grad):
        args, kwargs = size.drawn(input_dtype(model), parameter.device, batch)
        output = model(*args, **kwargs)
    return [tensor for _, tensor in tensors_in(output)]
