"""Replace the downsampling into a stage, in the two ways of the recipe's ``keep``.

``none``: the modules of that region go and the new block stands in their place. ``blocks``: the host's strided
convolutions and pools on the way get stride 1, and the new block, which halves the map, is put before them.
"""

from __future__ import annotations

from collections.abc import Iterator

from hmhsa_insert.blocks import Options, block_type
from hmhsa_insert.surgery.base.inputs import LeafPath
from hmhsa_insert.surgery.sites.placement import placed
from hmhsa_insert.surgery.sites.region import Downsampling, strided_modules
from hmhsa_insert.surgery.sites.select import (
    EditView,
    map_of,
    node_of,
    num_params_of,
)
from hmhsa_insert.surgery.sites.site import Site


def downsample_sites(network: EditView, options: Options) -> list[Site]:
    """Return the sites of a ``replace`` of regions; what does not fit is refused."""
    edit = network.edit
    if block_type(options.type).shape != "half":
        message = f"'{options.type}' keeps the size and cannot lead into a stage"
        network.refusals.add(edit, ("block", "type"), message, "'tdb' and 'downsample' halve the map")
        return []
    make = _keep_blocks if edit.keep == "blocks" else _keep_none
    regions = [region for region in edit.at.regions(network) if region is not None]
    return [site for region in regions for site in make(network, options, region)]


def _keep_none(network: EditView, options: Options, region: Downsampling) -> Iterator[Site]:
    located, model, edit = network.located, network.model, network.edit
    if not region.modules:
        message = f"what lies {_between(region)} is not made of whole modules"
        network.refuse(edit.at.kind, message, "use keep: blocks")
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
        options,
        removed_params=num_params_of(model, first),
    )
    yield placed(located, model, site, node_of(located, region.start))


def _keep_blocks(network: EditView, options: Options, region: Downsampling) -> Iterator[Site]:
    located, model, edit = network.located, network.model, network.edit
    modules, others = strided_modules(located, region)
    if others or not modules:
        what = f"{others[0]} has a stride that cannot be taken away" if others else "nothing strides"
        message = f"{_between(region)}, {what}"
        network.refuse(edit.at.kind, message, "use keep: none")
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
        message = f"the map before it, in '{region.start.qualname}', is not a module's input or output"
        network.refuse(edit.at.kind, message, "use keep: none")
        return
    key = f"{name}.{edit.id}"
    where = {"path": path, "node": region.start.node}
    site = Site(edit.id, action, name, key, inp, inp.channels, edit.block, options, **where)  # type: ignore[arg-type]
    yield placed(located, model, site, node_of(located, region.start))


def _between(region: Downsampling) -> str:
    """Return where a region lies; a map that no module returns is named by its fx node."""
    start, end = (point.qualname or point.node for point in (region.start, region.end))
    return f"between '{start}' and '{end}'"
