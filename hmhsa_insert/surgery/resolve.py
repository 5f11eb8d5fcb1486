"""Resolve: make the sites of one edit, with the block's options checked at each."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

from hmhsa_insert.blocks import MapSize, Options, block_type, parse_options
from hmhsa_insert.blocks import refusals as block_refusals
from hmhsa_insert.recipe import Edit
from hmhsa_insert.surgery.downsample import downsample_sites
from hmhsa_insert.surgery.inputs import Path
from hmhsa_insert.surgery.locate import Located
from hmhsa_insert.surgery.maps import FeatureMap
from hmhsa_insert.surgery.placement import placed
from hmhsa_insert.surgery.recorder import ModuleCall
from hmhsa_insert.surgery.rewrite import argument_lengths, own_operation
from hmhsa_insert.surgery.select import (
    STAGES_TIP,
    Place,
    Refusals,
    check_count,
    map_of,
    node_of,
    num_params_of,
    select_maps,
    select_modules,
)
from hmhsa_insert.surgery.site import Site


def resolve(located: Located, model: nn.Module, edit: Edit, refusals: Refusals) -> list[Site]:
    """Return the sites of `edit` on a located network; what does not fit goes to `refusals`."""
    options = None
    if edit.block is not None:
        options, problems = parse_options(edit.block)
        for problem in problems:
            refusals.add(edit, ("block", *problem.key), problem.message, problem.tip)
    known = edit.block is None or options is not None
    if edit.op == "insert":
        places = select_maps(located, model, edit, refusals)
        sites: list[Site | None] = (
            [_insert(located, model, edit, place, refusals) for place in places] if known else []
        )
    elif edit.at.kind == "downsample":
        sites = [*downsample_sites(located, model, edit, refusals)] if known else []
    else:
        names = select_modules(located, model, edit, refusals)
        check_count(edit, len(names), refusals)
        make = _replace if edit.op == "replace" else _remove
        sites = [make(located, model, edit, name, refusals) for name in names] if known else []
    return _priced(_numbered(site for site in sites if site), edit, options, refusals)


def _numbered(sites: Iterable[Site]) -> Iterator[Site]:
    """Give the second and later blocks that one host takes from one edit a name of their own."""
    seen: Counter[str] = Counter()
    for site in sites:
        again = seen[site.key]
        seen[site.key] += 1
        yield dataclasses.replace(site, key=f"{site.key}_{again + 1}") if site.key and again else site


def _priced(sites: Iterable[Site], edit: Edit, options: Options | None, refusals: Refusals) -> list[Site]:
    """Return the sites with the predicted cost of their blocks; refuse where a block does not fit a map."""
    priced: list[Site] = []
    refused: dict[tuple[tuple[str | int, ...], str, str], list[str]] = {}
    for site in sites:
        if site.block is None or site.inp is None or options is None:
            priced.append(site)
            continue
        inp = MapSize(site.inp.channels, site.inp.height, site.inp.width)
        found = block_refusals(options, inp, site.out_channels)
        for problem in found:
            refused.setdefault((problem.key, problem.message, problem.tip), []).append(site.qualname)
        if found:  # what does not run there has no cost there
            priced.append(site)
            continue
        cost = block_type(options.type).cost(options, inp, site.out_channels)
        own = inp.channels if site.identity else 0  # gamma
        priced.append(
            dataclasses.replace(site, num_params=cost.num_params + own, macs=cost.macs * site.inp.frames)
        )
    for (key, message, tip), names in refused.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        refusals.add(edit, ("block", *key), f"at '{names[0]}'{more}: {message}", tip)
    return priced


def _insert(located: Located, model: nn.Module, edit: Edit, place: Place, refusals: Refusals) -> Site | None:
    assert edit.block is not None
    shape = block_type(str(edit.block["type"])).shape
    if shape != "same":
        does = "halves the map" if shape == "half" else "takes the place of a module"
        tip = "use op: replace with at: {downsample: k}" if shape == "half" else "use op: replace"
        if not any(p.tip == tip for p in refusals.problems):
            refusals.add(
                edit, ("block", "type"), f"'{edit.block['type']}' {does} and cannot be inserted", tip
            )
        return None
    point, inp = place.point, map_of(place.point)
    common = {
        "inp": inp,
        "out_channels": inp.channels,
        "block": edit.block,
        "identity": edit.init == "identity",
        "residual": True,
    }
    path: Path
    if place.before is not None:
        name, action, path = place.before.qualname, "hook_input", (place.argument,)
    elif point.host is not None:
        name, action, path = point.host.qualname, "hook_output", point.host.path
    else:
        return _insert_inside(located, model, edit, place, common, refusals)
    if not _free(model, edit, name, refusals):
        return None
    site = Site(edit.id, action, name, f"{name}.{edit.id}", path=path, **common)  # type: ignore[arg-type]
    return placed(located, model, site, node_of(located, point))


def _insert_inside(
    located: Located, model: nn.Module, edit: Edit, place: Place, common: dict[str, Any], refusals: Refusals
) -> Site | None:
    """Return a site inside a forward: the map is computed there and is no module's return value."""
    node = node_of(located, place.point)
    if node.op == "placeholder":
        refusals.add(edit, ("at",), "the network's input is not a place for a block", STAGES_TIP)
        return None
    found = own_operation(located.trace, node)
    if found is None:
        message = f"the map is computed in '{place.point.qualname}', which runs more than once in one forward"
        refusals.add(edit, ("at",), message, STAGES_TIP)
        return None
    name, operation = found
    if not _free(model, edit, name, refusals):
        return None
    key = f"{name}.{edit.id}" if name else edit.id
    lengths = argument_lengths(model.get_submodule(name), located.trace.calls_of(name)[0])
    site = Site(edit.id, "rewrite", name, key, operation=operation, lengths=lengths, **common)
    return placed(located, model, site, node)


def _free(model: nn.Module, edit: Edit, name: str, refusals: Refusals) -> bool:
    if not hasattr(model.get_submodule(name), edit.id):
        return True
    message = f"'{name or type(model).__name__}' already has a '{edit.id}'"
    refusals.add(edit, ("id",), message, "choose an id that is free")
    return False


def _replace(located: Located, model: nn.Module, edit: Edit, name: str, refusals: Refusals) -> Site | None:
    assert edit.block is not None
    shape = block_type(str(edit.block["type"])).shape
    removed = num_params_of(model, name)
    if shape == "any":
        return Site(edit.id, "swap", name, block=edit.block, removed_params=removed)
    calls = located.trace.calls_of(name)
    problem, maps = _one_map_through(located, calls)
    if not problem and shape == "same" and maps[0] != maps[1]:
        problem = f"turns {_text(maps[0])} into {_text(maps[1])}, and '{edit.block['type']}' keeps the shape"
    if not problem and shape == "half" and maps[1].stride != 2 * maps[0].stride:
        problem = (
            f"goes from stride {maps[0].stride} to {maps[1].stride}; '{edit.block['type']}' halves the map"
        )
    if problem:
        tip = "narrow with 'exclude', 'in_stage' or 'with: {stride: 1}'"
        refusals.add(edit, ("at", edit.at.kind), f"'{name}' {problem}", tip)
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
        removed_params=removed,
    )
    return placed(located, model, site, calls[0].inputs[0])


def _remove(located: Located, model: nn.Module, edit: Edit, name: str, refusals: Refusals) -> Site | None:
    for call in located.trace.calls_of(name):
        shapes_in = [node.meta["shape"] for node in call.inputs]
        shapes_out = [node.meta["shape"] for _, node in call.outputs]
        if len(shapes_in) != 1 or shapes_in != shapes_out or call.outputs[0][0] != ():
            text = (
                f"takes {_shapes(shapes_in)} and returns {_shapes(shapes_out)}: nothing can stand in for it"
            )
            refusals.add(edit, ("at", edit.at.kind), f"'{name}' {text}", "narrow with 'exclude'")
            return None
    return Site(edit.id, "drop", name, removed_params=num_params_of(model, name))


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
