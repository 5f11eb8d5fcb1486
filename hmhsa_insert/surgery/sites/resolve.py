"""Resolve: make the sites of one edit, with the block's options checked at each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from torch import nn

from hmhsa_insert.blocks import MapSize, Options, block_type, parse_options
from hmhsa_insert.blocks import refusals as block_refusals
from hmhsa_insert.blocks.fields import settled
from hmhsa_insert.recipe import Edit
from hmhsa_insert.surgery.locate.maps import FeatureMap
from hmhsa_insert.surgery.locate.recorder import ModuleCall
from hmhsa_insert.surgery.locate.stages import Located
from hmhsa_insert.surgery.sites.downsample import downsample_sites
from hmhsa_insert.surgery.sites.placement import placed
from hmhsa_insert.surgery.sites.select import (
    STAGES_TIP,
    EditView,
    Place,
    Refusals,
    map_of,
    num_params_of,
    select_maps,
    select_modules,
    why_nothing,
)
from hmhsa_insert.surgery.sites.site import Site
from hmhsa_insert.surgery.sites.spot import PutsFirst, Spot


def resolve(
    located: Located, model: nn.Module, edit: Edit, put_first: PutsFirst, refusals: Refusals
) -> list[Site]:
    """Return the sites of `edit` on a located network; what does not fit goes to `refusals`."""
    already = len(refusals.problems)
    options = None
    if edit.block is not None:
        options, problems = parse_options(edit.block)
        for problem in problems:
            refusals.add(edit, ("block", *problem.key), problem.message, problem.tip)
    network = EditView(located, model, edit, refusals)
    if edit.op == "insert":
        places = select_maps(network)
        sites: list[Site | None] = [*_inserts(network, options, places, put_first)] if options else []
    elif edit.at.is_region:
        sites = [*downsample_sites(network, options)] if options else []
    else:
        names = select_modules(network)
        if edit.op == "remove":
            sites = [_remove(network, name) for name in names]
        else:
            sites = [_replace(network, options, name) for name in names] if options else []
    found = [site for site in sites if site]
    if not found and len(refusals.problems) == already:
        refusals.add(edit, ("at",), *why_nothing(located, edit))
    return _priced(found, edit, options, refusals)


def _priced(sites: Iterable[Site], edit: Edit, options: Options | None, refusals: Refusals) -> list[Site]:
    """Return the sites with the predicted cost of their blocks; refuse where a block does not fit a map."""
    priced: list[Site] = []
    refused: dict[tuple[tuple[str | int, ...], str, str], list[str]] = {}
    for site in sites:
        if site.block is None or site.inp is None or options is None:
            priced.append(site)
            continue
        inp, frames = MapSize(site.inp.channels, site.inp.height, site.inp.width), site.inp.frames
        block = settled(site.block, inp.channels)
        if block != site.block:
            site = dataclasses.replace(site, block=block, options=parse_options(block)[0])
        found = block_refusals(options, inp, site.out_channels)
        for problem in found:
            refused.setdefault((problem.key, problem.message, problem.tip), []).append(site.qualname)
        if found:  # what does not run there has no cost there
            priced.append(site)
            continue
        cost = block_type(options.type).cost(options, inp, site.out_channels)
        own = inp.channels if site.identity else 0  # gamma
        priced.append(dataclasses.replace(site, num_params=cost.num_params + own, macs=cost.macs * frames))
    for (key, message, tip), names in refused.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        refusals.add(edit, ("block", *key), f"at '{names[0]}'{more}: {message}", tip)
    return priced


def _inserts(
    network: EditView, options: Options, places: list[Place], put_first: PutsFirst
) -> Iterator[Site]:
    """Yield a site for each place, where it is to be tried first."""
    located, edit, refusals = network.located, network.edit, network.refusals
    shape = block_type(options.type).shape
    if places and shape != "same":
        does = "halves the map" if shape == "half" else "takes the place of a module"
        tip = "use op: replace with at: {downsample: k}" if shape == "half" else "use op: replace"
        refusals.add(edit, ("block", "type"), f"'{options.type}' {does} and cannot be inserted", tip)
        return
    nodes = {node.name: node for node in located.trace.nodes}
    for number, place in enumerate(places):
        if nodes[place.point.node].op == "placeholder" and place.before is None:
            refusals.add(edit, ("at",), "the network's input is not a place for a block", STAGES_TIP)
            continue
        inp = map_of(place.point)
        site = Site(
            edit=edit.id,
            action="hook_output",
            qualname=place.point.qualname,
            inp=inp,
            out_channels=inp.channels,
            block=edit.block,
            options=options,
            identity=edit.init == "identity",
            residual=True,
            node=place.point.node,
        )
        before = Spot("hook_input", place.before.qualname, (0,)) if place.before else None
        others = [p.point.node for p in places[number + 1 :]]
        settled = put_first(site, others, refusals, before)
        if settled is not None:
            yield settled


def _replace(network: EditView, options: Options, name: str) -> Site | None:
    located, model, edit = network.located, network.model, network.edit
    shape = block_type(options.type).shape
    removed = num_params_of(model, name)
    if shape == "any":
        return Site(edit.id, "swap", name, block=edit.block, options=options, removed_params=removed)
    calls = located.trace.calls_of(name)
    problem, maps = _one_map_through(located, calls)
    if not problem and shape == "same" and maps[0] != maps[1]:
        problem = f"turns {_text(maps[0])} into {_text(maps[1])}, and '{options.type}' keeps the shape"
    if not problem and shape == "half" and maps[1].stride != 2 * maps[0].stride:
        problem = f"goes from stride {maps[0].stride} to {maps[1].stride}; '{options.type}' halves the map"
    if problem:
        tip = "narrow with 'exclude', 'in_stage' or 'with: {stride: 1}'"
        network.refuse(edit.at.kind, f"'{name}' {problem}", tip)
        return None
    inp, out = maps
    site = Site(
        edit.id,
        "swap",
        name,
        f"{name}.{edit.id}",
        inp,
        out.channels,
        edit.block,
        options,
        removed_params=removed,
    )
    return placed(located, model, site, calls[0].inputs[0])


def _remove(network: EditView, name: str) -> Site | None:
    edit = network.edit
    for call in network.located.trace.calls_of(name):
        shapes_in = [node.meta["shape"] for node in call.inputs]
        shapes_out = [node.meta["shape"] for _, node in call.outputs]
        if len(shapes_in) != 1 or shapes_in != shapes_out or call.outputs[0][0] != ():
            text = (
                f"takes {_shapes(shapes_in)} and returns {_shapes(shapes_out)}: nothing can stand in for it"
            )
            network.refuse(edit.at.kind, f"'{name}' {text}", "narrow with 'exclude'")
            return None
    return Site(edit.id, "drop", name, removed_params=num_params_of(network.model, name))


def _one_map_through(located: Located, calls: list[ModuleCall]) -> tuple[str, tuple[FeatureMap, FeatureMap]]:
    """Return what is wrong (or nothing) and the map in and out of a module, the same in all its calls."""
    nothing = FeatureMap(1, 0, 0, 0, "NCHW")
    pairs = set()
    for call in calls:
        single = len(call.inputs) == len(call.outputs) == 1 and call.outputs[0][0] == ()
        nodes = (call.inputs[0], call.outputs[0][1]) if single else ()
        if not single or not all(node in located.maps for node in nodes):
            return "does not turn one feature map into one feature map", (nothing, nothing)
        pairs.add(tuple(located.maps[node] for node in nodes))
    if not pairs:
        return "is not called in the forward", (nothing, nothing)
    if len(pairs) > 1:
        return "is called on maps of different shapes", (nothing, nothing)
    return "", pairs.pop()  # type: ignore[return-value]


def _text(feature: FeatureMap) -> str:
    return f"{feature.channels}×{feature.height}×{feature.width}"


def _shapes(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join("×".join(map(str, shape[1:])) for shape in shapes) or "no tensor"
