"""Plan a run of any task: settings, data and recipe resolved, before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from hmhsa_insert.files.model_spec import ModelSpec
from hmhsa_insert.models.weights import check_start
from hmhsa_insert.recipe import RecipeSource, load_recipe
from hmhsa_insert.surgery.artifact.artifact import is_artifact
from hmhsa_insert.tasks.table import DEFAULT, task_class
from hmhsa_insert.training.data.digests import Watch
from hmhsa_insert.training.first_look import look_at_network
from hmhsa_insert.training.problems import Problems
from hmhsa_insert.training.run_schema import RunSettings
from hmhsa_insert.training.schema import LoaderSettings
from hmhsa_insert.training.settings import load_settings, shipped_settings, size_setting
from hmhsa_insert.training.task import Task


def plan_run(
    model: str | Path | nn.Module,
    data: Any = None,
    *,
    task: str = DEFAULT,
    recipe: RecipeSource | None = None,
    settings: str | Path | Mapping[str, Any] | RunSettings | None = None,
    overrides: Sequence[str] = (),
    seed: int = 0,
    data_dir: str | Path | None = None,
    init_from: str | Path | None = None,
    pretrained: bool = False,
    input_size: int | Sequence[int] | None = None,
    allow_code: bool = False,
    watch: Watch | None = None,
    problems: Problems | None = None,
    **options: Any,
) -> Any:
    """Return a run, resolved and not begun: a :class:`~hmhsa_insert.training.task.Task`.

    The arguments are those of :func:`~hmhsa_insert.training.run.train`, and `watch`, which is called with how many
    images are read, and of how many, while their contents are digested; and `problems`, which holds what is wrong
    already.

    Raises:
        SettingsError, RecipeError, DataError, ModelError, WeightsError, PlanError: something cannot be read, or does
            not fit.
        StartError: several of these; the files of the data are then looked for and not read.
        HmhsaInsertError: there is no such task, or it does not have one of the options.
    """
    kind: type[Task] = task_class(task)
    found = problems if problems is not None else Problems()
    named = model if isinstance(model, nn.Module) else str(model)
    start = Path(init_from) if init_from else None
    own, chosen, read, opened = {}, None, None, data
    knows = pretrained or start is not None or _is_trained(named)
    with found.part():
        check_start(init_from, pretrained)
    with found.part():
        own = kind.checked_options(options)
    with found.part():
        overrides = [*overrides, *size_setting(input_size, task, kind.settings_type)]
    with found.part():
        asked = settings if settings is not None else kind.default_settings(data, knows)
        chosen = _read_settings(asked, overrides, kind)
    with found.part():
        read = load_recipe(recipe).to_dict() if recipe is not None else None

    @cache
    def look() -> None:
        look_at_network(found, named, chosen, read, start, pretrained, allow_code)

    def before_reading(done: int, total: int) -> None:
        # What is in many files is read for a run that can be begun.
        look()
        found.raise_any()
        if watch is not None:
            watch(done, total)

    if isinstance(data, str | Path | None) and (chosen or not _may_say_how_to_read(settings, overrides)):
        loader = (chosen or kind.settings_type(epochs=1, batch_size=1)).loader
        with found.part():
            opened = kind.open(data, loader, data_dir, before_reading)
    if found:
        look()
    found.raise_any()
    notes = (f"settings: {asked}, since the network has weights",) if settings is None and knows else ()
    return kind(
        named, read, opened, chosen, seed, start, pretrained, allow_code=allow_code, notes=notes, **own
    )


def _is_trained(model: str | nn.Module) -> bool:
    """Return True if a model that is named comes with weights: an artifact, or one of the Hub's."""
    return isinstance(model, str) and (ModelSpec(model).is_on_hub or is_artifact(model))


def _read_settings(asked: Any, overrides: Sequence[str], kind: type[Task]) -> RunSettings:
    if isinstance(asked, kind.settings_type) and not overrides:
        return asked
    values = asked.model_dump() if isinstance(asked, RunSettings) else asked
    return load_settings(values, overrides, kind=kind.settings_type)


def _may_say_how_to_read(settings: Any, overrides: Sequence[str]) -> bool:
    """Return True if settings that cannot be read may say which folders of the data are its splits."""
    if isinstance(settings, Mapping):
        in_settings = "loader" in settings
    else:
        in_settings = settings is not None and str(settings).removesuffix(".yaml") not in shipped_settings()
    return in_settings or any(key in text for key in LoaderSettings.model_fields for text in overrides)
