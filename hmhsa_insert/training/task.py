"""A task: what of a run depends on what is learned, images classified or objects found, in one place.

The loop, its checkpoints, the run folder, evaluation and studies know a task by the names of :class:`Task` only. The
tasks are in ``hmhsa_insert/tasks``; :mod:`.image_task` has what those share that turn an image into one vector.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from accelerate import Accelerator
from torch import nn

from hmhsa_insert.costs.count import Counts
from hmhsa_insert.errors import HmhsaInsertError, Problem
from hmhsa_insert.files.model_spec import ModelSpec
from hmhsa_insert.tables import Table
from hmhsa_insert.tasks.table import DEFAULT
from hmhsa_insert.training.data.digests import Watch
from hmhsa_insert.training.data.order import Shares
from hmhsa_insert.training.interfaces import (
    DataSource,
    EvalBatchSource,
    Evaluated,
    Objective,
    Panel,
    TrainBatchSource,
)
from hmhsa_insert.training.loop.progress import EpochRow
from hmhsa_insert.training.network import Base, TrainableModel
from hmhsa_insert.training.result import RunResult, score_name
from hmhsa_insert.training.run_identity import config_of, identity
from hmhsa_insert.training.run_schema import RunSettings
from hmhsa_insert.training.score_tables import any_scores
from hmhsa_insert.training.scored import Asked, Scored


@dataclass(frozen=True)
class Task(ABC):
    """A run of one task, resolved and not begun.

    Attributes:
        wrapper: the field that names what is built around the network, such as ``detector``; empty: nothing is.
        best: the column of ``metrics.csv`` whose best value picks the best weights, and that studies compare; the
            largest, unless its row in ``QUANTITIES`` says that less is better.
        model: what names the network, or the network itself.
        recipe: the recipe as plain data, or None.
        data: the source, opened.
        settings: of the training.
        seed: of base weights, blocks, order, draws.
        init_from: a checkpoint of the base network, or None.
        pretrained: whether to begin with the library's weights.
        allow_code: whether code may run that a file names, such as an artifact its base network's factory.
        notes: what was decided for the user.
    """

    task: ClassVar[str]
    wrapper: ClassVar[str] = ""
    best: ClassVar[str]
    settings_type: ClassVar[type[RunSettings]]
    result_type: ClassVar[type[RunResult]] = RunResult

    model: str | nn.Module
    recipe: Mapping[str, Any] | None
    data: DataSource
    settings: RunSettings
    seed: int
    init_from: Path | None
    pretrained: bool
    allow_code: bool = field(default=False, kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True, compare=False)

    # ---- planned: from what the user names

    @classmethod
    @abstractmethod
    def default_settings(cls, data: Any, has_weights: bool) -> str:
        """Return the name of the shipped settings for a run that names none.

        Args:
            data: what the user named, or what was opened.
            has_weights: whether the network begins with weights that were learned before.
        """

    @classmethod
    @abstractmethod
    def open(
        cls, source: Any, loader: Any, data_dir: str | Path | None = None, watch: Watch | None = None
    ) -> DataSource:
        """Open a source of data to train on; None stands for the task's default."""

    @classmethod
    def checked_options(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the task's own fields, as its class takes them, from what the user gave; by default there are none.

        Raises:
            HmhsaInsertError: one that the task does not have, or a value that it cannot have.
        """
        if options:
            raise HmhsaInsertError(
                [Problem(name, f"the task '{cls.task}' does not have this option") for name in options]
            )
        return {}

    @property
    def config(self) -> dict[str, Any]:
        """What determines the run, as plain data: what ``config.yaml`` holds."""
        whole = {} if self.task == DEFAULT else {"task": self.task}
        return whole | ({self.wrapper: getattr(self, self.wrapper)} if self.wrapper else {}) | config_of(self)

    @classmethod
    def options_in(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the task's own fields from what ``config.yaml`` holds."""
        return {cls.wrapper: config[cls.wrapper]} if cls.wrapper else {}

    @property
    def run_id(self) -> str:
        """Sixteen digits that two runs share if they are the same run."""
        text = json.dumps(identity(self.config), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """A name for tables and folders: what wraps the network, the network, recipe, data, seed."""
        model = self.model if isinstance(self.model, str) else type(self.model).__name__
        recipe = self.recipe["name"] if self.recipe is not None else "plain"
        parts = (ModelSpec(model).label, recipe, Path(self.data.source).name, f"s{self.seed}")
        wrapper = (getattr(self, self.wrapper),) if self.wrapper else ()
        return "-".join(str(part) for part in (*wrapper, *parts))

    # ---- the network

    @property
    @abstractmethod
    def network_key(self) -> tuple[Any, ...]:
        """What of data and settings decides how the network is built; it can be hashed."""

    @abstractmethod
    def base(self) -> Base:
        """Build what recipes edit, without its recipe; its weights may be any."""

    def around(self, edited: nn.Module) -> nn.Module:
        """Build the whole network around what a recipe edited: a detector around its backbone."""
        return edited

    @abstractmethod
    def build(self) -> TrainableModel:
        """Build the network of the run."""

    @abstractmethod
    def count(self, model: nn.Module) -> Counts:
        """Count what the network costs for one image."""

    @abstractmethod
    def costs(self, model: nn.Module) -> dict[str, int | float | None]:
        """Return what every counter says of the network for one image, by the fields of quantities."""

    @abstractmethod
    def one_image(self, network: TrainableModel) -> tuple[nn.Module, tuple[int, ...]]:
        """Return what a batch of images runs through, and C, H, W of the smallest one."""

    def check(self, model: nn.Module) -> None:
        """Refuse a network that does not fit the data; by default none is refused."""
        return

    # ---- batches, loss and scores

    @abstractmethod
    def train_batches(self, network: TrainableModel, shares: Shares, pin: bool) -> TrainBatchSource:
        """Return this process's batches of the training split."""

    @abstractmethod
    def eval_batches(
        self, model: nn.Module, batch_size: int, rank: int, world: int, pin: bool
    ) -> EvalBatchSource:
        """Return this process's batches of the validation split."""

    def eval_batch_size(self, shares: Shares) -> int:
        """Return how many images an evaluation during training takes at a time."""
        return shares.micro_batch

    @abstractmethod
    def objective(self, shares: Shares) -> Objective:
        """Return what computes the loss."""

    @abstractmethod
    def evaluate(
        self,
        model: nn.Module,
        batches: Iterable[Any],
        accelerator: Accelerator,
        *,
        on_batch: Callable[[int], None] | None,
        memory_format: Any,
    ) -> Evaluated:
        """Run the network over the validation split, which the processes divide."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The columns of ``metrics.csv`` that an evaluation fills."""

    @property
    def curves(self) -> Sequence[Panel]:
        """What is drawn of the columns."""
        scores = (Panel(name, {name: "validation", f"ema_{name}": "EMA"}) for name in self.columns)
        return Panel("loss", {"train_loss": "training"}), *scores

    def result(self, finished: Mapping[str, Any], row: EpochRow, prefix: str, best: float) -> RunResult:
        """Return the result of a run.

        Args:
            finished: what every run says.
            row: of the last epoch.
            prefix: of the columns that count: ``ema_`` where there is an average.
            best: the best value of the column :attr:`best`.
        """
        scores = {score_name(column): row.get(f"{prefix}{column}") for column in self.columns}
        return self.result_type(task=self.task, scores=scores, best=best, **finished)

    # ---- what a run leaves, and what is scored

    @abstractmethod
    def save(self, model: nn.Module, folder: Path) -> Path | None:
        """Write a network as an artifact; None if there is none to write."""

    @classmethod
    @abstractmethod
    def scored(
        cls, config: Mapping[str, Any] | None, settings: Any, asked: Asked, folder: Path | None
    ) -> Scored:
        """Return what a network is scored on.

        Args:
            config: of the run that trained it; None: of no run.
            settings: of the evaluation.
            asked: what the user said of the data.
            folder: of the run or the artifact.
        """

    @abstractmethod
    def rebuilt(self, folder: Path, config: Mapping[str, Any], weights: Path) -> nn.Module:
        """Return the network of a run's folder; it takes memory only if its file of weights does."""

    @classmethod
    @abstractmethod
    def of_model(
        cls,
        model: str | nn.Module,
        asked: Asked,
        pretrained: bool,
        weights: str | Path | None,
        allow_code: bool,
    ) -> tuple[str, Self, nn.Module, bool | None]:
        """Return name, run, model and :attr:`Scored.unseen` of a model that no run trained.

        Args:
            model: the network, its name, or the folder of an artifact.
            asked: what the user said of the data.
            pretrained: of a named network: the library's weights.
            weights: a file of weights.
            allow_code: run the factory that an artifact names.
        """

    def details(self, found: Any) -> dict[str, Any]:
        """Return what the JSON of ``evaluate`` says of an evaluation besides name, costs, images and damage."""
        return {score_name(column): value for column, value in found.row.items()}

    @classmethod
    def tables(cls, rows: Sequence[Mapping[str, Any]], source: str) -> list[Table]:
        """Return the tables that ``evaluate`` prints.

        Args:
            rows: of each network ``name``, ``num_params``, ``macs``, ``images``, ``images_per_s``, ``damaged``,
                ``unseen`` and its :meth:`details`.
            source: what they were scored on.
        """
        return [any_scores(rows, source)]

    def write_found(self, found: Any, option: str, path: Path) -> str:
        """Write what an evaluation found into the file that an option of ``evaluate`` names; return what, in words."""
        raise NotImplementedError(f"the task '{self.task}' writes nothing for {option}")

    @classmethod
    def judged(cls, folder: Path) -> dict[str, Any]:
        """Return what studies compare image by image, from a finished run's folder: nothing by default."""
        return {}
