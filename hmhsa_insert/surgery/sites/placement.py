"""Device and dtype of a block: those of its map, unless autocast decides for each operation."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.fx import Node

from hmhsa_insert.surgery.locate.stages import Located
from hmhsa_insert.surgery.sites.site import Site


def placed(located: Located, model: nn.Module, site: Site, node: Node) -> Site:
    """Return `site` with the dtype and device of the map `node`, if they differ from the host's weights.

    What counts is whether autocast is on where the block runs: around the call of the host for a hook, at the
    operation for an expression. Autocast casts the weights of the block like those of other layers.
    """
    weights = weights_beside(model.get_submodule(site.qualname), model)
    dtype, device = node.meta["dtype"], node.meta["device"]
    calls = located.trace.calls_of(site.qualname)
    autocast = node.meta["autocast"] if not site.in_tree or not calls else calls[0].autocast
    own_dtype = weights.dtype if weights is not None else None
    own_device = weights.device if weights is not None else device
    if own_device.type == "meta":
        own_device = device  # in the trace, weights on the meta device were fake tensors on the CPU
    same_dtype = dtype == own_dtype or device.type in autocast or not dtype.is_floating_point
    return replace(
        site,
        dtype=None if same_dtype else str(dtype).removeprefix("torch."),
        device=None if device == own_device else str(device),
    )


def weights_beside(host: nn.Module, model: nn.Module) -> torch.Tensor | None:
    """Return the floating-point parameter whose device and dtype a new child of `host` takes."""
    return next((p for m in (host, model) for p in m.parameters() if p.is_floating_point()), None)
