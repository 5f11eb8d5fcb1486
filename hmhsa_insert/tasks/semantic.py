"""Semantic segmentation: every pixel gets one class, by a decoder on a located backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from accelerate import Accelerator
from torch import nn

from hmhsa_insert.blocks.lean import set_lean
from hmhsa_insert.costs.count import Counts, count
from hmhsa_insert.costs.counters import counted
from hmhsa_insert.detection.make_shapes import SHAPES_SET
from hmhsa_insert.detection.network import build_backbone, fresh_parameters
from hmhsa_insert.errors import Argument, Problem
from hmhsa_insert.files.hub import fetched
from hmhsa_insert.segmentation.artifact import (
    BODY,
    check_classes,
    is_segmenter,
    load,
    read_segmenter,
    save,
)
from hmhsa_insert.segmentation.decoders import DEFAULT, decoder_of
from hmhsa_insert.segmentation.evaluation import evaluate_segmenter
from hmhsa_insert.segmentation.loader import MaskBatch, PreparedMasks
from hmhsa_insert.segmentation.mask_data import MaskData
from hmhsa_insert.segmentation.network import build_around
from hmhsa_insert.segmentation.objective import SemanticObjective, make_losses
from hmhsa_insert.segmentation.open_masks import open_masks
from hmhsa_insert.segmentation.result import SemanticResult
from hmhsa_insert.segmentation.schema import SemanticSettings
from hmhsa_insert.segmentation.score_table import segment_tables
from hmhsa_insert.segmentation.scores import COLUMNS, Segmented
from hmhsa_insert.segmentation.segmenter import segmenter_record
from hmhsa_insert.segmentation.transforms import EvalTransform, TrainTransform, seen_by
from hmhsa_insert.surgery.apply import apply
from hmhsa_insert.tables import Table
from hmhsa_insert.training.curves import draw_confusion
from hmhsa_insert.training.data.digests import Watch
from hmhsa_insert.training.data.order import EvalBatches, Shares
from hmhsa_insert.training.interfaces import EvalBatchSource
from hmhsa_insert.training.keyed_loader import KeyedTrainLoader, keyed_eval_loader
from hmhsa_insert.training.network import Base, TrainableModel
from hmhsa_insert.training.problems import RunError
from hmhsa_insert.training.result import RunResult
from hmhsa_insert.training.run_folder import ARTIFACT
from hmhsa_insert.training.run_schema import RunSettings
from hmhsa_insert.training.scored import Asked, Scored
from hmhsa_insert.training.settings import load_settings
from hmhsa_insert.training.task import Task

_MOST_IN_MATRIX = 100


@dataclass(frozen=True)
class Semantic(Task):
    """A run of semantic segmentation, resolved and not begun; its model is the backbone.

    Attributes:
        data: images and masks.
        settings: of the training.
        decoder: its name; "" stands for the default.
    """

    task: ClassVar[str] = "semantic"
    wrapper: ClassVar[str] = "decoder"
    settings_type: ClassVar[type[RunSettings]] = SemanticSettings
    result_type: ClassVar[type[RunResult]] = SemanticResult
    columns: ClassVar[tuple[str, ...]] = COLUMNS
    best: ClassVar[str] = "mIoU"

    data: MaskData
    settings: SemanticSettings
    decoder: str = field(default="", kw_only=True)

    @classmethod
    def checked_options(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the decoder; where none is given, the authors'.

        Raises:
            ModelError: there is no such decoder.
        """
        super().checked_options({name: value for name, value in options.items() if name != "decoder"})
        return {"decoder": decoder_of(options.get("decoder") or DEFAULT).name}

    @classmethod
    def default_settings(cls, data: Any, has_weights: bool) -> str:
        """Return ``shapes_semantic`` for the shapes set, else ``ade20k``."""
        source = data.source if isinstance(data, MaskData) else data
        return "shapes_semantic" if source in (None, SHAPES_SET) else "ade20k"

    @classmethod
    def open(
        cls, source: Any, loader: Any, data_dir: str | Path | None = None, watch: Watch | None = None
    ) -> MaskData:
        """Open images and masks; ``shapes`` by default, which is drawn if need be."""
        return open_masks(str(source or SHAPES_SET), data_dir, loader, watch)

    @property
    def network_key(self) -> tuple[Any, ...]:
        """The decoder, its classes, its settings, the crop, drop path."""
        chosen = (self.settings.segmenter.model_dump_json(), self.settings.regularize.model_dump_json())
        return (self.decoder, self.data.classes, self.settings.input_size, *chosen)

    @property
    def _size(self) -> tuple[int, int, int]:
        return (self.data.channels, self.settings.input_size, self.settings.input_size)

    def base(self) -> Base:
        """Build the backbone without its recipe."""
        model, _ = build_backbone(self.model, self.data, self.settings, allow_code=self.allow_code)
        return Base(model, self._size)

    def around(self, edited: nn.Module) -> nn.Module:
        """Build the segmenter around its backbone."""
        return build_around(self.decoder, edited, self.data, self.settings, self.seed)

    def build(self) -> TrainableModel:
        """Build the segmenter; errors as of :func:`~hmhsa_insert.detection.network.build_backbone` and ``hi.apply``."""
        base, notes = build_backbone(
            self.model,
            self.data,
            self.settings,
            seed=self.seed,
            init_from=self.init_from,
            pretrained=self.pretrained,
            allow_code=self.allow_code,
        )
        made = self.around(base if self.recipe is None else apply(base, self.recipe, self._size, self.seed))
        if self.settings.compute.memory == "lean":
            set_lean(made)
        # Not evaluated before it was trained, whatever the backbone knows: its decoder knows nothing.
        return TrainableModel(
            made, made, self.data.channels, fresh_parameters(made, BODY), False, tuple(notes)
        )

    def count(self, model: nn.Module) -> Counts:
        """Count at the settings' crop."""
        return count(model, self._size)

    def costs(self, model: nn.Module) -> dict[str, int | float | None]:
        """Return what every counter says at the settings' crop, training memory included."""
        return counted(model, self._size, memory=True)

    def one_image(self, network: TrainableModel) -> tuple[nn.Module, tuple[int, ...]]:
        """Return the segmenter, and the size of a crop."""
        return network.model, self._size

    def train_batches(
        self, network: TrainableModel, shares: Shares, pin: bool
    ) -> KeyedTrainLoader[MaskBatch]:
        """Return this process's batches of the training split.

        Raises:
            SettingsError: settings that do not fit the data or the number of processes.
        """
        record = segmenter_record(network.model)
        assert record is not None
        transform = TrainTransform(self.settings, record.options["image_mean"])
        prepared = PreparedMasks(self.data.train, transform, self.seed, stacked=True)
        workers = self.settings.loader.workers
        return KeyedTrainLoader(prepared.batch, self.data.train, shares, self.seed, workers, pin)

    def eval_batches(
        self, model: nn.Module, batch_size: int, rank: int, world: int, pin: bool
    ) -> EvalBatchSource:
        """Return this process's batches of the validation split."""
        split, workers = self.data.val, self.settings.loader.workers
        prepared = PreparedMasks(split, EvalTransform(seen_by(self.settings)), seed=0, stacked=False)
        batches = EvalBatches(len(split), batch_size, rank, world)
        return keyed_eval_loader(prepared.batch, split, batches, world, workers, pin)

    def objective(self, shares: Shares) -> SemanticObjective:
        """Return the settings' losses.

        Raises:
            SettingsError: class weights that do not fit the data.
            ModelError: a loss of smp, which is not installed.
        """
        return SemanticObjective(make_losses(self.settings.loss, self.data.num_classes))

    def evaluate(
        self,
        model: nn.Module,
        batches: Iterable[MaskBatch],
        accelerator: Accelerator,
        *,
        on_batch: Callable[[int], None] | None,
        memory_format: Any,
    ) -> Segmented:
        """Run the segmenter over the validation split; see :func:`evaluate_segmenter`."""
        seen = seen_by(self.settings)
        return evaluate_segmenter(model, batches, self.data.classes, seen, accelerator, on_batch=on_batch)

    def save(self, model: nn.Module, folder: Path) -> Path | None:
        """Write an artifact for ``hi.load`` and ``hmhsa-insert segment``."""
        return save(model, folder, overwrite=True)

    @classmethod
    def scored(
        cls, config: Mapping[str, Any] | None, settings: Any, asked: Asked, folder: Path | None
    ) -> Scored:
        """Return the data, whole where it has no split of its own; its classes have to be the segmenter's.

        Raises:
            DataError: the data cannot be used, or has other classes.
        """
        source = asked.source if asked.source is not None or config is None else config["data"]["source"]
        loader = settings.loader if settings is not None else None
        data = (
            source
            if isinstance(source, MaskData)
            else open_masks(source, asked.data_dir, loader, asked.watch)
        )
        known = config is not None and data.fingerprint == config["data"]["fingerprint"]
        if data.whole is not None and not known:
            data = MaskData(**{**vars(data), "val": data.whole})
        if folder is not None and is_segmenter(folder / ARTIFACT):
            check_classes(read_segmenter(folder / ARTIFACT).record, data)
        return Scored(data, None)

    def rebuilt(self, folder: Path, config: Mapping[str, Any], weights: Path) -> nn.Module:
        """Return the segmenter of a run's folder."""
        return self.build().model

    def details(self, found: Any) -> dict[str, Any]:
        """Return the decoder, the scores, pixels, IoU and Dice of each class, and the confusion matrix."""
        confusion = found.confusion.tolist() if len(found.classes) <= _MOST_IN_MATRIX else None
        return {
            "decoder": self.decoder,
            "size": [self.settings.input_size] * 2,
            **super().details(found),
            "per_class": found.per_class(),
            **({"confusion": confusion} if confusion is not None else {}),
        }

    @classmethod
    def tables(cls, rows: Sequence[Mapping[str, Any]], source: str) -> list[Table]:
        """Return the scores, and of a single network its classes."""
        return segment_tables(rows, source)

    def write_found(self, found: Any, option: str, path: Path) -> str:
        """Draw the confusion matrix of an evaluation, as a PNG."""
        draw_confusion(found.confusion, found.classes, path)
        return "confusion of pixels"

    @classmethod
    def of_model(
        cls,
        model: str | nn.Module,
        asked: Asked,
        pretrained: bool,
        weights: str | Path | None,
        allow_code: bool,
    ) -> tuple[str, Self, nn.Module, bool | None]:
        """Return name, run, model and :attr:`Scored.unseen` of a segmenter or its folder, at its own size."""
        for name, given in (("pretrained", pretrained), ("weights", weights)):
            if given:
                raise RunError(Problem(Argument(name), "a segmenter has its own weights"))
        if isinstance(model, nn.Module):
            name, record, made = type(model).__name__, segmenter_record(model), model
        else:
            name, record = Path(model).name, read_segmenter(fetched(model)).record
        if record is None:
            tip = "hi.segmenter and `hmhsa-insert train --task semantic` make one"
            raise RunError(Problem(name, "this is not a segmenter", tip))
        seen = {key: record.options[key] for key in ("short_side", "long_side", "window")}
        values = {"epochs": 1, "batch_size": 4, "input_size": max(record.input_size[1:]), "segmenter": seen}
        settings = load_settings(values, asked.overrides, kind=SemanticSettings)
        found = cls.scored(None, settings, asked, None)
        check_classes(record, found.data)
        if not isinstance(model, nn.Module):
            made = load(fetched(model), allow_code=allow_code)
        run = cls(model, None, found.data, settings, 0, None, False, decoder=record.decoder)
        return name, run, made, found.unseen
