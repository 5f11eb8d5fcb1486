"""What a run is, before anything is built: settings, data and recipe resolved, and the identity they make."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

import torch
from torch import nn

from hmhsa_insert.errors import Problem, WeightsError
from hmhsa_insert.recipe import load_recipe
from hmhsa_insert.training.classify import ClassifyTask
from hmhsa_insert.training.data import SMALL, Data, open_data
from hmhsa_insert.training.data.digests import Watch
from hmhsa_insert.training.result import TrainResult
from hmhsa_insert.training.run_identity import CLASS_NAMES, NAMES_FINGERPRINT, identity
from hmhsa_insert.training.run_schema import RunSettings
from hmhsa_insert.training.schema import Settings
from hmhsa_insert.training.settings import load_settings
from hmhsa_insert.training.task import R_co, Source, Task

# More classes are not written by name, since every reader of a run's configuration would wait for them: those are
# matched by their order.
_MOST_NAMED = 40_000


@dataclass(frozen=True)
class Run(ABC, Generic[R_co]):
    """A run of any task, resolved and not begun.

    Attributes:
        model: what names the network, or the network itself.
        recipe: the recipe as plain data, or None.
        data: the source, opened.
        settings: of the training.
        seed: of base weights, blocks, order, draws.
        init_from: a checkpoint of the base network, or None.
        pretrained: whether to begin with the library's weights.
        allow_code: whether code may run that a file names, such as an artifact its base network's factory.
    """

    model: str | nn.Module
    recipe: Mapping[str, Any] | None
    data: Source
    settings: RunSettings
    seed: int
    init_from: Path | None
    pretrained: bool
    allow_code: bool = field(default=False, kw_only=True)

    @property
    @abstractmethod
    def task(self) -> Task[R_co]:
        """What is learned."""

    @property
    def config(self) -> dict[str, Any]:
        """What determines the run, as plain data: what ``config.yaml`` holds."""
        model = self.model if isinstance(self.model, str) else _described(self.model)
        splits = {"train": len(self.data.train), "val": len(self.data.val)}
        return {
            "model": model,
            "recipe": dict(self.recipe) if self.recipe is not None else None,
            "data": {
                "source": self.data.source,
                "fingerprint": self.data.fingerprint,
                **splits,
                "classes": self.data.num_classes,
                "channels": self.data.channels,
                NAMES_FINGERPRINT: self.data.names_fingerprint,
                CLASS_NAMES: list(self.data.classes) if self.data.num_classes <= _MOST_NAMED else None,
            },
            "seed": self.seed,
            "init_from": _file_digest(self.init_from) if self.init_from else None,
            "pretrained": self.pretrained,
            "settings": self.settings.model_dump(mode="json"),
        }

    @property
    def run_id(self) -> str:
        """Sixteen digits that two runs share if they are the same run."""
        text = json.dumps(identity(self.config), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """A name for tables and folders: network, recipe, data, seed."""
        model = self.model if isinstance(self.model, str) else type(self.model).__name__
        recipe = self.recipe["name"] if self.recipe is not None else "plain"
        parts = (Path(model.rpartition(":")[2]).name, recipe, Path(self.data.source).name, f"s{self.seed}")
        return "-".join(str(part) for part in parts)


@dataclass(frozen=True)
class PlannedRun(Run[TrainResult]):
    """A run of classification, resolved and not begun.

    Attributes:
        data: the source, opened.
        settings: of the training.
    """

    data: Data
    settings: Settings

    @property
    def task(self) -> ClassifyTask:
        """Classification."""
        return ClassifyTask(
            self.model,
            self.recipe,
            self.data,
            self.settings,
            self.seed,
            self.init_from,
            self.pretrained,
            self.allow_code,
        )


def plan_run(
    model: str | Path | nn.Module,
    data: str | Data = "digits",
    *,
    recipe: str | Path | Mapping[str, Any] | None = None,
    settings: str | Path | Mapping[str, Any] | Settings | None = None,
    overrides: Sequence[str] = (),
    seed: int = 0,
    data_dir: str | Path | None = None,
    init_from: str | Path | None = None,
    pretrained: bool = False,
    allow_code: bool = False,
    watch: Watch | None = None,
) -> PlannedRun:
    """Resolve a run; the arguments are those of :func:`~hmhsa_insert.training.run.train`, `watch` of ``open_data``.

    Raises:
        SettingsError, RecipeError, DataError: something cannot be read.
    """
    chosen = settings if settings is not None else default_settings(data, init_from, pretrained)
    if not isinstance(chosen, Settings) or overrides:
        chosen = load_settings(chosen.model_dump() if isinstance(chosen, Settings) else chosen, overrides)
    read = load_recipe(recipe).to_dict() if recipe is not None else None
    opened = open_data(data, data_dir, chosen.loader, watch=watch) if isinstance(data, str) else data
    named = model if isinstance(model, nn.Module) else str(model)
    start = Path(init_from) if init_from else None
    return PlannedRun(named, read, opened, chosen, seed, start, pretrained, allow_code=allow_code)


def default_settings(data: str | Data, init_from: str | Path | None, pretrained: bool) -> str:
    """Return the shipped settings for a run that names none."""
    if pretrained or init_from is not None:
        return "finetune"
    source = data if isinstance(data, str) else data.source
    return "digits" if source in SMALL else "imagenet_300e"


def _described(model: nn.Module) -> str:
    """Return a network's class and a digest of its weights: another network is another run."""
    digest = hashlib.sha256()
    for key, tensor in model.state_dict().items():
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"{type(model).__name__} {digest.hexdigest()[:16]}"


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
    except OSError as error:
        raise WeightsError(Problem(str(path), f"cannot be read: {error.strerror or error}")) from error
