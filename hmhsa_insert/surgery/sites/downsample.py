"""Replace the way into a stage, in the two ways of the recipe's ``keep``.

``none``: the modules of that region go and the new block stands in their place. ``blocks``: the host's strided
convolutions and pools on the way get stride 1, and the new block, which halves the map, is put before them.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from hmhsa_insert.blocks import block_type
from hmhsa_insert.recipe import Edit
from hmhsa_insert.surgery.base.inputs import LeafPath
from hmhsa_insert.surgery.locate.stages import Located
from hmhsa_insert.surgery.sites.placement import placed
from hmhsa_insert.surgery.sites.region import Region, strided_modules
from hmhsa_insert.surgery.sites.select import (
    EditView,
    Refusals,
    map_of,
    node_of,
    num_params_of,
)
from hmhsa_insert.surgery.sites.site import Site


def downsample_sites(network: EditView) -> list[Site]:
    """Return the sites of a ``replace`` of regions; what does not fit is refused."""
    edit, refusals = network.edit, network.refusals
    assert edit.block is not None
    if block_type(str(edit.block["type"])).shape != "half":
        message = f"'{edit.block['type']}' keeps the size and cannot lead into a stage"
        refusals.add(edit, ("block", "type"), message, "'tdb' and 'downsample' halve the map")
        return []
    make = _keep_blocks if edit.keep == "blocks" else _keep_none
    regions = edit.at.regions(network)
    return [
        site
        for region in regions
        if region is not None
        for site in make(network.located, network.model, edit, region, refusals)
    ]


def _keep_none(
    located: Located, model: nn.Module, edit: Edit, region: Region, refusals: Refusals
) -> Iterator[Site]:
    if not region.modules:
        message = f"what lies {_between(region)} is not made of whole modules"
        refusals.add(edit, ("at", "downsample"), message, "use keep: blocks")
        return
    first, *others = region.modules
    for name in others:
        yield Site(edit.id, "drop", name, removed_params=num_params_of(model, name))
    site = Site(
        edit.id,
        "swap",
        first,
        f"{first}.{edit.id}",
        map_of(region.start),
        region.end.channels,
        edit.block,
        removed_params=num_params_of(model, first),
    )
    yield placed(located, model, site, node_of(located, region.start))


def _keep_blocks(
    located: Located, model: nn.Module, edit: Edit, region: Region, refusals: Refusals
) -> Iterator[Site]:
    modules, others = strided_modules(located, region)
    if others or not modules:
        what = f"{others[0]} has a stride that cannot be taken away" if others else "nothing strides"
        message = f"{_between(region)}, {what}"
        refusals.add(edit, ("at", "downsample"), message, "use keep: none")
        return
    inp = map_of(region.start)
    for name in modules:
        yield Site(edit.id, "unstride", name)
    path: LeafPath
    if region.call is not None:
        name, action, path = region.call.qualname, "hook_input", (0,)
    elif region.start.host is not None:
        name, action, path = region.start.host.qualname, "hook_output", region.start.host.path
    else:
        message = f"the map before it, in '{region.start.qualname}', is no module's input or output"
        refusals.add(edit, ("at", "downsample"), message, "use keep: none")
        return
    key = f"{name}.{edit.id}"
    site = Site(edit.id, action, name, key, inp, inp.channels, edit.block, path=path, node=region.start.node)  # type: ignore[arg-type]
    yield placed(located, model, site, node_of(located, region.start))


def _between(region: Region) -> str:
    """Return where a region lies; a map that no module returns is named by its fx node."""
    start, end = (point.qualname or point.node for point in (region.start, region.end))
    return f"between '{start}' and '{end}'"
