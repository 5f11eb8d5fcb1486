"""Where and in which dtype a block computes: as its map was made, unless autocast decides for each operation."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.fx import Node

from hmhsa_insert.surgery.locate.stages import Located
from hmhsa_insert.surgery.sites.site import Site


def placed(located: Located, model: nn.Module, site: Site, node: Node) -> Site:
    """Return `site` with the dtype and device of the map `node`, where they are not those of the weights beside it.

    Autocast counts if it is on where the block runs: around the host's call for a hook, at the operation inside a
    forward. It casts weights as it casts those of the layers around.
    """
    weights = weights_beside(model.get_submodule(site.qualname), model)
    dtype, device = node.meta["dtype"], node.meta["device"]
    calls = located.trace.calls_of(site.qualname)
    autocast = node.meta["autocast"] if not site.in_tree or not calls else calls[0].autocast
    own_dtype = weights.dtype if weights is not None else None
    own_device = weights.device if weights is not None else device
    if own_device.type == "meta":
        own_device = device  # in the trace, fake tensors on the CPU stood for weights without a device
    same_dtype = dtype == own_dtype or device.type in autocast or not dtype.is_floating_point
    return replace(
        site,
        dtype=None if same_dtype else str(dtype).removeprefix("torch."),
        device=None if device == own_device else str(device),
    )


def weights_beside(host: nn.Module, model: nn.Module) -> torch.Tensor | None:
    """Return the floating-point parameter that says where, and in which dtype, a new child of `host` computes."""
    return next((p for m in (host, model) for p in m.parameters() if p.is_floating_point()), None)
