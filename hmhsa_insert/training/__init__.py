"""Training: real data, any number of processes, runs that are never lost.

:func:`train` (or :func:`plan_run` and :func:`train_run`) trains one network into a run folder; :func:`evaluate` scores
a folder or a network. :func:`read_result` and :func:`read_predictions` read a run folder without building anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hmhsa_insert.lazy import lazily

if TYPE_CHECKING:
    from hmhsa_insert.training.data import Data, open_data
    from hmhsa_insert.training.planned import plan_run
    from hmhsa_insert.training.problems import (
        DataError,
        RunError,
        SettingsError,
        StartError,
        Stopped,
        TrainingError,
    )
    from hmhsa_insert.training.reporter import OptimizerStep, Reporter, Silent
    from hmhsa_insert.training.result import RunResult, read_result
    from hmhsa_insert.training.run import train, train_run
    from hmhsa_insert.training.run_folder import read_config
    from hmhsa_insert.training.run_tables import read_predictions
    from hmhsa_insert.training.schema import ClassifySettings
    from hmhsa_insert.training.score import evaluate
    from hmhsa_insert.training.settings import load_settings, shipped_settings

__getattr__ = lazily(
    __name__,
    {
        "ClassifySettings": "schema",
        "Data": "data.sources",
        "DataError": "problems",
        "OptimizerStep": "reporter",
        "Reporter": "reporter",
        "RunError": "problems",
        "RunResult": "result",
        "SettingsError": "problems",
        "Silent": "reporter",
        "StartError": "problems",
        "Stopped": "problems",
        "TrainingError": "problems",
        "evaluate": "score",
        "load_settings": "settings",
        "open_data": "data.sources",
        "plan_run": "planned",
        "read_config": "run_folder",
        "read_predictions": "run_tables",
        "read_result": "result",
        "shipped_settings": "settings",
        "train": "run",
        "train_run": "run",
    },
)

__all__ = [
    "Data",
    "DataError",
    "Reporter",
    "RunError",
    "RunResult",
    "ClassifySettings",
    "SettingsError",
    "StartError",
    "Silent",
    "OptimizerStep",
    "Stopped",
    "TrainingError",
    "evaluate",
    "load_settings",
    "open_data",
    "plan_run",
    "read_config",
    "read_predictions",
    "read_result",
    "shipped_settings",
    "train",
    "train_run",
]
