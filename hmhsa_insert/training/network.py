"""The network to train: built for the data, given its base weights, then edited by the recipe."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from hmhsa_insert.blocks.lean import set_lean
from hmhsa_insert.errors import ModelError, Problem, mention
from hmhsa_insert.files.hub import fetched
from hmhsa_insert.files.model_spec import ModelSpec
from hmhsa_insert.models import load_weights, read_state_dict
from hmhsa_insert.recipe import RecipeSource
from hmhsa_insert.surgery.apply import apply
from hmhsa_insert.surgery.artifact.artifact import is_artifact, load, read_record
from hmhsa_insert.surgery.artifact.manifest import source_in
from hmhsa_insert.surgery.base.fake import notes as marks
from hmhsa_insert.surgery.base.inputs import InputSize
from hmhsa_insert.surgery.base.load import SOURCE, load_model
from hmhsa_insert.surgery.edit.splice import inserted_modules, splice
from hmhsa_insert.training.adapt import check_outputs, head_names, input_channels, stem_key, transfer
from hmhsa_insert.training.data import Data
from hmhsa_insert.training.loop.seeding import WEIGHTS, derived_seed, kept_random_state, seed_cpu
from hmhsa_insert.training.problems import SettingsError, TrainingError
from hmhsa_insert.training.run_schema import RunSettings
from hmhsa_insert.training.schema import ClassifySettings

# What a factory may be asked for by the settings, and the value there that does not ask.
_ASKED = {
    "num_classes": "",
    "in_chans": "",
    "drop_path_rate": "regularize.drop_path",
    "drop_rate": "regularize.dropout",
}
_OFF = {"regularize.drop_path": "0", "regularize.dropout": "null"}
_UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'")


class Base(NamedTuple):
    """A network before its recipe.

    Attributes:
        model: what recipes edit.
        size: of one image that it takes, at which its maps are measured.
    """

    model: nn.Module
    size: InputSize


@dataclass(frozen=True)
class TrainableModel:
    """A network ready to train, on the CPU.

    Attributes:
        model: the network, edited if there is a recipe.
        base: what it was before the recipe, with the same weights; the same object without one.
        channels: of its images, 1 or 3.
        fresh: names of the parameters that begin to learn now: inserted blocks, a new head or stem.
        has_weights: whether its base weights were learned before.
        notes: what was adapted to the data.
    """

    model: nn.Module
    base: nn.Module
    channels: int
    fresh: frozenset[str]
    has_weights: bool
    notes: tuple[str, ...]


def build_network(
    model: str | nn.Module,
    data: Data,
    settings: ClassifySettings,
    *,
    outputs: int | None = None,
    recipe: RecipeSource | None = None,
    seed: int = 0,
    init_from: str | Path | None = None,
    pretrained: bool = False,
    allow_code: bool = False,
    meta: bool = False,
) -> TrainableModel:
    """Build the network of a run; initial values depend on `seed`, the base network and the recipe alone.

    Args:
        model: what ``load_model`` takes, an artifact's folder or name on the Hub, or a network, which is copied.
        data: the number of channels is its.
        settings: input size, drop path, dropout.
        outputs: how many numbers it has to give for an image; None: one for each class of the data.
        recipe: to apply; None: train the network as it is.
        seed: of the run.
        init_from: a checkpoint of the base network, by its own keys; its head may have other classes.
        pretrained: begin with the library's weights.
        allow_code: run the factory that an artifact names.
        meta: build a named network on the meta device where it can be: its shapes alone, which take no memory.

    Raises:
        ModelError, WeightsError, ArtifactError, RecipeError, PlanError: as the functions it calls.
        SettingsError: the network's factory does not take a setting.
        TrainingError: the network does not give one score a class.
    """
    outputs = data.num_classes if outputs is None else outputs
    with kept_random_state():
        seed_cpu(derived_seed(seed, WEIGHTS))
        asked = {"num_classes": outputs, "in_chans": data.channels}
        base, new, notes = build_base(model, asked, settings, init_from, pretrained, allow_code, meta)
        channels = input_channels(base)
        edited = base
        if recipe is not None:
            size = (channels, settings.input_size, settings.input_size)
            edited = apply(base, recipe, size, seed)
    named = isinstance(model, str) and not is_artifact(fetched(model)) and not ModelSpec(model).is_on_hub
    has_weights = pretrained or init_from is not None or not named
    if channels != data.channels and not {channels, data.channels} <= {1, 3}:
        message = f"takes images of {channels} channels, and the data's have {data.channels}"
        tip = "give a network that can be built for them: timm/NAME, or a factory that takes in_chans"
        raise TrainingError(Problem(type(base).__name__, message, tip))
    if channels != data.channels:
        notes.append(f"images are read as {'RGB' if channels == 3 else 'gray'}: the stem takes {channels}")
    check_outputs(edited, channels, settings.input_size, outputs)
    if settings.compute.memory == "lean":
        set_lean(edited)
    fresh = new.union(_inserted_parameters(edited))
    return TrainableModel(edited, base, channels, frozenset(fresh), has_weights, tuple(notes))


def build_base(
    model: str | nn.Module,
    asked: Mapping[str, int],
    settings: RunSettings,
    init_from: str | Path | None,
    pretrained: bool,
    allow_code: bool,
    meta: bool = False,
) -> tuple[nn.Module, set[str], list[str]]:
    """Build a network with its base weights; return it, the names of what is new in it, and notes.

    Args:
        model: what ``load_model`` takes, the folder of an artifact, or a network, which is copied.
        asked: ``num_classes`` and ``in_chans`` that the data needs; a factory that takes them is given them.
        settings: drop path, dropout.
        init_from: a checkpoint of the network, by its own keys.
        pretrained: begin with the library's weights.
        allow_code: run the factory that an artifact names.
        meta: build a named network on the meta device where it can be.
    """
    if isinstance(model, nn.Module):
        return _copied(model, init_from)
    folder = fetched(model)
    if is_artifact(folder):
        if pretrained:
            message, tip = "an artifact has its own weights", "leave `pretrained=True` out"
            raise ModelError(Problem(model, message, tip))
        return _from_artifact(folder, asked, init_from, allow_code)
    return _from_factory(model, asked, settings, init_from, pretrained, meta)


def _copied(model: nn.Module, init_from: str | Path | None) -> tuple[nn.Module, set[str], list[str]]:
    base = copy.deepcopy(model)
    if init_from is not None:
        load_weights(base, init_from)
    return base, set(), []


def _from_factory(
    spec: str,
    asked: Mapping[str, int],
    settings: RunSettings,
    init_from: str | Path | None,
    pretrained: bool,
    meta: bool,
) -> tuple[nn.Module, set[str], list[str]]:
    base, taken = _build(spec, {**asked, **_regularization(settings)}, meta)
    notes = [_fitted(taken)] if taken.keys() & asked.keys() else []
    if init_from is not None:
        given = _built_like(spec, read_state_dict(init_from), taken, base)
        load_weights(given, init_from)
    elif pretrained or ModelSpec(spec).is_on_hub:
        given = load_model(spec, pretrained=True).model
    else:
        return base, set(), notes
    new, more = transfer(given, base)
    if init_from is None:
        marks(base)[SOURCE] = replace(marks(base)[SOURCE], weights=marks(given)[SOURCE].weights)
    return base, new, notes + more


def _from_artifact(
    folder: str, asked: Mapping[str, int], init_from: str | Path | None, allow_code: bool
) -> tuple[nn.Module, set[str], list[str]]:
    """Load an artifact; where the data has other classes or channels, build it for them and keep the rest."""
    model = load(folder, allow_code=allow_code)
    if init_from is not None:
        load_weights(model, init_from)
    record, ledgers = read_record(folder)
    source = source_in(record)
    kwargs = dict(source.kwargs)
    known = {"num_classes": kwargs.get("num_classes", 1000), "in_chans": kwargs.get("in_chans", 3)}
    if not source.spec or all(known[key] == value for key, value in asked.items()):
        return model, set(), []
    built, taken = _build(source.spec, {**kwargs, **asked})
    for ledger in ledgers:
        plan = ledger.plan
        if "in_chans" in taken:  # what is made of the run reads there which images its network takes
            plan = replace(plan, inputs=plan.inputs.recolored(taken["in_chans"]))
        splice(built, plan, ledger.seed)
    new, notes = transfer(model, built)
    return built, new, [*([_fitted(taken)] if taken.keys() & asked.keys() else []), *notes]


def _build(spec: str, asked: Mapping[str, Any], meta: bool = False) -> tuple[nn.Module, dict[str, Any]]:
    """Build a network with those of the asked arguments that its factory takes."""
    kwargs = dict(asked)
    while True:
        # The same draws whatever was tried before.
        state = torch.get_rng_state()
        try:
            return load_model(spec, meta=meta, **kwargs).model, kwargs
        except ModelError as error:
            refused = _UNKNOWN.search(str(error))
            if refused is None or refused[1] not in kwargs:
                raise
            if setting := _ASKED.get(refused[1]):
                message = f"{spec} takes no {refused[1]}"
                raise SettingsError(
                    Problem(setting, message, mention("overrides", [f"{setting}={_OFF[setting]}"]))
                ) from error
            del kwargs[refused[1]]
            torch.set_rng_state(state)


def _regularization(settings: RunSettings) -> dict[str, float]:
    asked = {}
    if settings.regularize.drop_path:
        asked["drop_path_rate"] = settings.regularize.drop_path
    if settings.regularize.dropout is not None:
        asked["drop_rate"] = settings.regularize.dropout
    return asked


def _fitted(taken: Mapping[str, Any]) -> str:
    words = {"num_classes": "head: {} classes", "in_chans": "stem: {} channel{s}"}
    said = [words[key].format(taken[key], s="s" * (taken[key] != 1)) for key in words if key in taken]
    return "built for the data, " + ", ".join(said)


def _built_like(
    spec: str, state: Mapping[str, torch.Tensor], kwargs: Mapping[str, Any], base: nn.Module
) -> nn.Module:
    """Build the network that a checkpoint was saved from: its classes and channels, read from its shapes."""
    kwargs = dict(kwargs)
    head = [state[f"{name}.weight"] for name in head_names(base) if f"{name}.weight" in state]
    stem = state.get(stem_key(base))
    if head and "num_classes" in kwargs:
        kwargs["num_classes"] = head[0].shape[0]
    if stem is not None and stem.ndim == 4 and "in_chans" in kwargs:
        kwargs["in_chans"] = stem.shape[1]
    return load_model(spec, **kwargs).model


def _inserted_parameters(model: nn.Module) -> Iterator[str]:
    for key, module in inserted_modules(model):
        for name, _ in module.named_parameters():
            yield f"{key}.{name}"
