"""The artifact: an edited model as a folder of plain data, from which it is built again bit for bit.

``recipe.yaml`` (what was asked for), ``plan.json`` (what was done, site by site), ``base.json`` (where the
base network comes from, and versions), ``model.safetensors`` (all weights), ``displaced.safetensors``
(weights of modules that a recipe removed, if any) and a short ``README.md``. No pickle; reading one runs no
code that the folder names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hmhsa_insert.errors import ArtifactError, HmhsaInsertError, ModelError, Problem, within
from hmhsa_insert.files.hub import fetched
from hmhsa_insert.files.model_spec import ModelSpec
from hmhsa_insert.inert import markdown, markdown_code
from hmhsa_insert.models import read_state_dict
from hmhsa_insert.recipe.canonical import dump_yaml
from hmhsa_insert.surgery.artifact.folder import write_folder
from hmhsa_insert.surgery.artifact.identify import identify
from hmhsa_insert.surgery.artifact.manifest import (
    BASE,
    PLAN,
    WEIGHTS,
    build_base,
    is_rebuildable,
    read_record,
    set_modes,
    write_record,
)
from hmhsa_insert.surgery.artifact.older import FolderKind
from hmhsa_insert.surgery.artifact.tensors import check_fit, check_sizes, fill, gather
from hmhsa_insert.surgery.base.fake import deep_copy, hollow_copy
from hmhsa_insert.surgery.base.load import LoadedModel, ModelSource, load_model
from hmhsa_insert.surgery.edit.graph import as_graph_module
from hmhsa_insert.surgery.edit.splice import Ledger, ledgers, splice

__all__ = ["ARTIFACT", "is_artifact", "load", "open_model", "read_record", "save", "weights_summary"]


def _recipes(folder: Path) -> list[Mapping[str, Any]]:
    """Return the recipes of an artifact; raise ArtifactError if no release wrote its records."""
    record, plans = read_record(folder)
    if not record.get("class") or not record["versions"]:
        raise ArtifactError(Problem(str(folder / BASE), "it does not name its network and versions"))
    return [written.plan.recipe for written in plans]


ARTIFACT = FolderKind((PLAN, BASE), _recipes)


def save(model: nn.Module, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write an edited model as an artifact folder, completely or not at all.

    Args:
        model: from ``hi.apply``.
        folder: the folder to create; it may exist only with `overwrite`, and only as an artifact.
        overwrite: replace an older artifact.

    Returns:
        The folder.

    Raises:
        ArtifactError: the folder exists or cannot be written.
        ModelError: the model was not edited, or has no weights.
    """
    done = ledgers(model)
    if not done:
        tip = "hi.apply makes one; of a wrapped or compiled model, save the inner one"
        raise ModelError(Problem(type(model).__name__, "nothing was inserted into this model", tip))
    source = identify(model)
    tensors = gather(model, done)

    def write(target: Path) -> None:
        write_recipes(target, done)
        write_record(target, model, source, tensors.aliases, tensors.channels_last)
        tensors.write(target)
        (target / "README.md").write_text(_readme(done, source), encoding="utf-8")

    return write_folder(Path(folder), write, ARTIFACT, overwrite=overwrite)


def write_recipes(target: Path, done: Sequence[Ledger]) -> None:
    """Write one file for each recipe."""
    for number, ledger in enumerate(done):
        name = "recipe.yaml" if number == 0 else f"recipe-{number + 1}.yaml"
        (target / name).write_text(dump_yaml(dict(ledger.plan.recipe)), encoding="utf-8")


def load(folder: str | Path, base: nn.Module | None = None, *, allow_code: bool = False) -> nn.Module:
    """Rebuild the edited model of an artifact; its outputs equal the saved model's bit for bit.

    Args:
        folder: an artifact.
        base: the base network, newly built, if it is not one of timm or torchvision: a folder may not name
            code to run. It is copied.
        allow_code: build the base network with the factory that the folder names; for folders that you trust.

    Raises:
        ArtifactError: not an artifact, of a newer format, or its base network cannot be built.
        WeightsError: the weights are corrupt or of another model.
    """
    target = Path(folder)
    record, plans = read_record(target)
    if base is not None and ledgers(base):
        raise ArtifactError(
            Problem(type(base).__name__, "this base network is edited", "give hi.remove(base)")
        )
    if base is not None:
        hollow = hollow_copy(base)
    else:
        check_sizes(record["kwargs"], target / BASE, target)
        hollow = build_base(target / BASE, record, allow_code, meta=True)
    hollow = respliced(hollow, plans, target / PLAN)
    check_fit(hollow, ledgers(hollow), target, record["aliases"])
    model = deep_copy(base) if base is not None else build_base(target / BASE, record, allow_code)
    model = respliced(model, plans, target / PLAN)
    fill(model, ledgers(model), target, record["aliases"])
    if record.get("channels_last"):
        model = model.to(memory_format=torch.channels_last)
    return set_modes(model, record)


def is_artifact(folder: str | Path) -> bool:
    """Return True if a path is the folder of an artifact."""
    # os.path: pathlib raises for a name that is too long for any file
    return all(os.path.isfile(os.path.join(folder, name)) for name in (PLAN, BASE, WEIGHTS))


def weights_summary(folder: str | Path) -> tuple[int, int]:
    """Return the number of tensors in an artifact's weights, and their size in bytes.

    Raises:
        WeightsError: the file is missing or corrupt.
    """
    state = read_state_dict(Path(folder) / WEIGHTS)
    return len(state), sum(tensor.nbytes for tensor in state.values())


def open_model(spec: str, *, allow_code: bool = False, **options: Any) -> LoadedModel:
    """Return the network of a MODEL|DIR argument: an artifact here or on the Hub, or what ``load_model`` builds.

    Args:
        spec: a folder that ``hi.save`` wrote, or a name.
        allow_code: run the factory that an artifact names.
        options: for :func:`~hmhsa_insert.surgery.base.load.load_model`.

    Raises:
        ArtifactError, WeightsError, ModelError: as the two.
    """
    folder = fetched(spec)
    if is_artifact(folder):
        if options.get("pretrained"):
            message, tip = "an artifact has its own weights", "leave `pretrained=True` out"
            raise ModelError(Problem(spec, message, tip))
        model = load(folder, allow_code=allow_code)
        inputs = ledgers(model)[-1].plan.inputs
        name = Path(spec).absolute().name if folder == spec else ModelSpec(spec).label
        return LoadedModel(model, ModelSource(name), inputs.image_size, inputs)
    try:
        return load_model(spec, **options)
    except ModelError:
        _report_missing(spec)
        raise


def _report_missing(spec: str) -> None:
    """Report what a folder lacks to be an artifact: it is hardly meant as the name of a network."""
    if spec and os.path.isdir(spec):
        read_record(spec)


def respliced(model: nn.Module, plans: Sequence[Ledger], path: Path) -> nn.Module:
    """Return a base network, possibly edited in place, with the plans that were read from file `path`.

    Raises:
        ArtifactError: it is not the network that they were made for.
    """
    for written in plans:
        model = _spliced(model, written, path)
    return model


def _spliced(model: nn.Module, written: Ledger, path: Path) -> nn.Module:
    """Carry out a plan from a file on a network that may not be the one it was made for."""
    try:
        splice(model, written.plan, written.seed)
        if written.backend == "graph":
            return as_graph_module(model, written.plan, identify(model))
    except HmhsaInsertError as error:
        raise ArtifactError(within(path, error)) from error
    except Exception as error:  # a plan is data: whatever it names may be missing in this network
        message = f"it does not fit the base network: {error}"
        raise ArtifactError(
            Problem(str(path), message, "the base network is not the one it was made for")
        ) from error
    return model


def _readme(done: list[Ledger], source: ModelSource | None) -> str:
    base = "" if source and is_rebuildable(source) else ", base=THE_BASE_NETWORK"
    lines = ["# An edited network", "", "Made by hmhsa-insert. Load it with:", ""]
    lines += ["```python", "import hmhsa_insert as hi", f'model = hi.load("THIS_FOLDER"{base})', "```", ""]
    lines += [f"Base network: {markdown_code(source.spec if source else done[0].plan.model)}", ""]
    lines += ["| edit | where | new keys | parameters |", "|---|---|---|---|"]
    for ledger in done:
        for site in ledger.plan.sites:
            place, key = markdown_code(site.qualname), markdown_code(site.key or "-")
            lines.append(f"| {markdown(site.edit)} | {place} | {key} | {site.num_params:,} |")
    return "\n".join(lines) + "\n"
