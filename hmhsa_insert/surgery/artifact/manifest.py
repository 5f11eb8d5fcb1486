"""The record of an artifact: its JSON files, which are not trusted.

A folder may come from anyone. Its contents are data: it may name a network of timm or torchvision and never
code, and a plan may do only what a recipe could have asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import nn

from hmhsa_insert.errors import ArtifactError, ModelError, Problem, RecipeError, within
from hmhsa_insert.files.json_text import read_json_mapping
from hmhsa_insert.files.shapes import checked
from hmhsa_insert.inert import json_text
from hmhsa_insert.models.weights import read_shapes
from hmhsa_insert.recipe import load_recipe
from hmhsa_insert.surgery.artifact.plan_shape import BaseShape, OptionsShape, PlansShape
from hmhsa_insert.surgery.base.bounded import at_most
from hmhsa_insert.surgery.base.fake import notes
from hmhsa_insert.surgery.base.given_base import base_factory
from hmhsa_insert.surgery.base.load import SOURCE, ModelSource, load_model, named_by_file
from hmhsa_insert.surgery.edit.splice import Ledger, ledgers
from hmhsa_insert.surgery.sites.site import Plan

FORMAT = 1
WEIGHTS = "model.safetensors"
DISPLACED = "displaced.safetensors"
PLAN = "plan.json"
BASE = "base.json"

_TIP = "`hmhsa-insert apply MODEL --recipe R -o DIR` writes one"
_BASE_TIP = "give the base network: `base=NETWORK`"
# What a folder may pass to a library's factory: numbers and names, never files or addresses.
_SAFE_KWARGS = frozenset(OptionsShape.model_fields)
_LEAST_MODULES, _MODULES_A_TENSOR = 1000, 20
_PLAIN = (str, int, float, bool, type(None))
# The name of a new child ends up in code that torch.fx generates, so it must be a recipe's id, numbered or not.
_CHILD = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


def is_rebuildable(source: ModelSource) -> bool:
    """Return True if a folder may name this source: a library's network, with plain options."""
    return source.is_library and not _unsafe(source.kwargs)


def _unsafe(kwargs: Mapping[str, Any]) -> list[str]:
    """Return the options that no folder may set."""
    return sorted(
        key for key, value in kwargs.items() if key not in _SAFE_KWARGS or not isinstance(value, _PLAIN)
    )


def write_record(
    target: Path,
    model: nn.Module,
    source: ModelSource | None,
    aliases: Mapping[str, str],
    channels_last: bool,
) -> None:
    """Write ``plan.json`` and ``base.json`` of an edited model."""
    done = ledgers(model)
    write_json(target / PLAN, {"format": FORMAT, "plans": plans_as_data(done)})
    base = base_as_data(source, done[0].plan.model, aliases)
    state = {"training": model.training, "channels_last": channels_last, **modes_as_data(model)}
    write_json(target / BASE, {**base, **state})


def modes_as_data(model: nn.Module) -> dict[str, list[str]]:
    """Return which modules are in another mode than the model, and which parameters are frozen."""
    return {
        "other_mode": [name for name, part in model.named_modules() if part.training != model.training],
        "frozen": [name for name, p in model.named_parameters() if not p.requires_grad],
    }


def set_modes(model: nn.Module, record: Mapping[str, Any]) -> nn.Module:
    """Give a rebuilt model the modes and frozen parameters of its record; older records have none."""
    training, other = bool(record.get("training", False)), set(record.get("other_mode", ()))
    model.train(training)
    for name, part in model.named_modules():
        if name in other:
            part.training = not training
    if "frozen" in record:
        frozen = set(record["frozen"])
        for name, parameter in model.named_parameters():
            if parameter.is_floating_point() or parameter.is_complex():
                parameter.requires_grad_(name not in frozen)
    return model


def plans_as_data(done: Sequence[Ledger]) -> list[dict[str, Any]]:
    """Return what was done to a network as JSON-able data."""
    return [{"seed": x.seed, "backend": x.backend, "plan": x.plan.to_dict()} for x in done]


def base_as_data(source: ModelSource | None, kind: str, aliases: Mapping[str, str]) -> dict[str, Any]:
    """Return what a folder says about its base network: its source, class, versions and tied tensors."""
    kwargs = dict(source.kwargs) if source else {}
    # Without its arguments a factory of the user's would build another network.
    if source and source.library is None and not all(isinstance(each, _PLAIN) for each in kwargs.values()):
        source, kwargs = None, {}
    return {
        **({"weights": source.weights} if source and source.weights else {}),
        "source": source.spec if source else None,
        "kwargs": kwargs,
        "class": kind,
        "aliases": dict(aliases),
        "versions": {
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "timm": timm.__version__,
        },
    }


def read_record(folder: str | Path) -> tuple[dict[str, Any], list[Ledger]]:
    """Return the base record and the plans of an artifact, without building anything.

    Raises:
        ArtifactError: not an artifact, of a newer format, or its files were damaged.
    """
    target = Path(folder)
    missing = [name for name in (PLAN, BASE, WEIGHTS) if not (target / name).is_file()]
    if missing:
        message = f"this is not an artifact: it has no {missing[0]}"
        if not target.is_dir():
            message = (
                "this is a file, and an artifact is a folder"
                if target.exists()
                else "there is no such folder"
            )
        raise ArtifactError(Problem(str(target), message, _TIP))
    plans = read_json_mapping(target / PLAN, ArtifactError)
    check_format(target / PLAN, plans)
    record = check_base(target / BASE, read_json_mapping(target / BASE, ArtifactError))
    found = plans_from_data(target / PLAN, plans.get("plans"))
    if not found:
        raise ArtifactError(Problem(str(target / PLAN), "it holds no plan"))
    return record, found


def check_format(path: Path, data: Mapping[str, Any]) -> None:
    """Raise ArtifactError for a file of a format that this release does not read."""
    if data.get("format") != FORMAT:
        message = f"it has format {data.get('format')}, and this release reads format {FORMAT}"
        raise ArtifactError(Problem(str(path), message, "read it with the release that wrote it"))


def check_base(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Return the checked record of a base network, with defaults; raise ArtifactError if it is invalid."""
    checked(BaseShape, record, path, ArtifactError)
    return {"kwargs": {}, "aliases": {}, "versions": {}, **record}


def source_in(record: Mapping[str, Any]) -> ModelSource:
    """Return what builds the base network of a record; where no library does, the user's factory if one is given."""
    source = ModelSource(str(record.get("source") or ""), record["kwargs"], str(record.get("weights") or ""))
    given = base_factory()
    if not given or is_rebuildable(source):
        return source
    # The arguments in the file are of the factory that the file names.
    return source if given == source.spec else ModelSource(given)


def build_base(
    path: Path, record: Mapping[str, Any], allow_code: bool = False, *, meta: bool = False
) -> nn.Module:
    """Build the base network that the record in file `path` names: a library's, or the user's if given or allowed.

    With `meta`, it is built on the meta device if possible.

    Raises:
        ArtifactError: it names none, or code, or options that only a caller may set.
        ModelError: it cannot be built.
    """
    where = str(path)
    source = source_in(record)
    spec = source.spec
    if not spec:
        message = f"it does not say how the base network ({record.get('class')}) is built"
        raise ArtifactError(Problem(where, message, _BASE_TIP))
    library = source.library
    if library and not source.is_library:
        library.require(where)
        versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
        message = f"the base network is '{spec}', which the installed release does not have"
        raise ArtifactError(Problem(where, message, f"it was made with {versions}"))
    named_by_file(spec, where, allow_code, ArtifactError, _BASE_TIP)
    if library:
        if unsafe := _unsafe(source.kwargs):
            message = f"a folder may not set the option '{unsafe[0]}'"
            raise ArtifactError(Problem(where, message, _BASE_TIP))
        checked(OptionsShape, source.kwargs, path, ArtifactError)
    # A network has a few modules for each of its tensors, and the folder has these.
    modules = _LEAST_MODULES + _MODULES_A_TENSOR * len(read_shapes(path.parent / WEIGHTS))
    try:
        with at_most(modules) if library else nullcontext():
            model = load_model(source.spec, meta=meta, **source.kwargs).model
    except ModelError as error:
        raise ModelError(within(path, error)) from error
    if source.weights:
        notes(model)[SOURCE] = replace(notes(model)[SOURCE], weights=source.weights)
    return model


def plans_from_data(path: Path, written: Any) -> list[Ledger]:
    """Return the plans in file `path`, which :func:`plans_as_data` wrote; may be none.

    Raises:
        ArtifactError: they cannot be read, or are not plans of this package.
    """
    checked(PlansShape, {"plans": written}, path, ArtifactError)
    try:
        plans = [
            Ledger(Plan.from_dict(item["plan"]), int(item["seed"]), backend=item["backend"])
            for item in written
        ]
        problems = [problem for ledger in plans for problem in _problems(ledger)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = Problem(str(path), "it holds no plan that this release can read")
        raise ArtifactError(problem) from error
    if problems:
        raise ArtifactError([Problem(str(path), message) for message in problems])
    return plans


def _problems(ledger: Ledger) -> list[str]:
    """Return what is wrong with a plan."""
    problems = []
    if ledger.backend not in ("tree", "graph"):
        problems.append(f"there is no backend '{ledger.backend}'")
    try:
        load_recipe(ledger.plan.recipe)
    except RecipeError as error:
        problems.append(f"the recipe in it has problems: {error.problems[0]}")
    if not ledger.plan.inputs.leaves:
        problems.append("it has no input size")
    for site in ledger.plan.sites:
        if site.key and (not _CHILD.match(site.child) or site.key.rpartition(".")[0] != site.qualname):
            problems.append(f"'{site.key}' is not a valid name for a new module of '{site.qualname}'")
    return problems


def write_json(path: Path, data: Any) -> None:
    """Write plain data."""
    path.write_text(json_text(data, indent=2) + "\n", encoding="utf-8")
