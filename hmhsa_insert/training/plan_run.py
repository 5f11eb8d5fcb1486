"""Plan a run of any task: settings, data and recipe resolved, before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from hmhsa_insert.recipe import RecipeSource, load_recipe
from hmhsa_insert.tasks.table import DEFAULT, task_class
from hmhsa_insert.training.data.digests import Watch
from hmhsa_insert.training.run_schema import RunSettings
from hmhsa_insert.training.settings import load_settings
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
    allow_code: bool = False,
    watch: Watch | None = None,
    **options: Any,
) -> Any:
    """Return a run, resolved and not begun: a :class:`~hmhsa_insert.training.task.Task`.

    The arguments are those of :func:`~hmhsa_insert.training.run.train`, and `watch`, which is called with how many
    images are read, and of how many, while their contents are digested.

    Raises:
        SettingsError, RecipeError, DataError: something cannot be read.
        HmhsaInsertError: there is no such task, or it does not have one of the options.
    """
    kind: type[Task] = task_class(task)
    own = kind.checked_options(options)
    chosen = settings if settings is not None else kind.default_settings(data, init_from, pretrained)
    if not isinstance(chosen, kind.settings_type) or overrides:
        values = chosen.model_dump() if isinstance(chosen, RunSettings) else chosen
        chosen = load_settings(values, overrides, kind=kind.settings_type)
    read = load_recipe(recipe).to_dict() if recipe is not None else None
    opened = kind.open(data, chosen.loader, data_dir, watch) if isinstance(data, str | Path | None) else data
    named = model if isinstance(model, nn.Module) else str(model)
    start = Path(init_from) if init_from else None
    return kind(named, read, opened, chosen, seed, start, pretrained, allow_code=allow_code, **own)
