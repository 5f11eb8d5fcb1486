"""Plan a run of any task: settings, data and recipe resolved, before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from hmhsa_insert.tasks.table import DEFAULT, task_class


def plan_run(model: str | Path | nn.Module, data: Any = None, *, task: str = DEFAULT, **options: Any) -> Any:
    """Return a run of `task`, resolved and not begun: a :class:`~hmhsa_insert.training.task.Task`.

    Args:
        model: as of :func:`~hmhsa_insert.training.run.train`.
        data: the same.
        task: a name in :data:`~hmhsa_insert.tasks.table.TASKS`.
        options: those of :meth:`~hmhsa_insert.training.task.Task.plan` and of the task itself.

    Raises:
        SettingsError, RecipeError, DataError: something cannot be read.
        HmhsaInsertError: there is no such task.
    """
    return task_class(task).plan(model, data, **options)
