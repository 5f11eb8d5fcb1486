"""Detection (boxes around objects) and instance segmentation (boxes and masks) by torchvision's detectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from accelerate import Accelerator
from torch import nn

from hmhsa_insert.blocks.lean import set_lean
from hmhsa_insert.costs.count import Counts
from hmhsa_insert.detection.artifact import check_categories, is_detector, load, read_detector, save
from hmhsa_insert.detection.coco_data import CocoData, open_objects
from hmhsa_insert.detection.costs import count_detector, detector_costs
from hmhsa_insert.detection.detector import DETECTORS, detector_record
from hmhsa_insert.detection.evaluation import Detection, evaluate_detector, write_detections
from hmhsa_insert.detection.loader import DetectBatch, eval_loader, train_loader
from hmhsa_insert.detection.make_shapes import SHAPES_SET, shapes_folder
from hmhsa_insert.detection.metric import NAMES
from hmhsa_insert.detection.network import build_around, build_backbone, fresh_parameters, image_size
from hmhsa_insert.detection.objective import DetectObjective
from hmhsa_insert.detection.result import DetectResult
from hmhsa_insert.detection.schema import CELL, DetectSettings
from hmhsa_insert.detection.score_table import precision_table
from hmhsa_insert.errors import Argument, ModelError, Problem, near
from hmhsa_insert.files.hub import fetched
from hmhsa_insert.surgery.apply import apply
from hmhsa_insert.tables import Table
from hmhsa_insert.training.data.digests import Watch
from hmhsa_insert.training.data.order import Shares
from hmhsa_insert.training.interfaces import EvalBatchSource, Panel
from hmhsa_insert.training.keyed_loader import KeyedTrainLoader
from hmhsa_insert.training.network import Base, TrainableModel
from hmhsa_insert.training.problems import DataError, RunError
from hmhsa_insert.training.result import RunResult
from hmhsa_insert.training.run_folder import ARTIFACT
from hmhsa_insert.training.run_schema import RunSettings
from hmhsa_insert.training.scored import Asked, Scored
from hmhsa_insert.training.settings import load_settings
from hmhsa_insert.training.task import Task


@dataclass(frozen=True)
class Detect(Task):
    """A run of detection, resolved and not begun; its model is the backbone.

    Attributes:
        data: a data set, whatever the format of its labels.
        settings: of the training.
        detector: its kind; "" stands for the task's default.
    """

    task: ClassVar[str] = "detect"
    wrapper: ClassVar[str] = "detector"
    settings_type: ClassVar[type[RunSettings]] = DetectSettings
    result_type: ClassVar[type[RunResult]] = DetectResult
    kinds: ClassVar[tuple[str, ...]] = ("box",)
    best: ClassVar[str] = "box_AP"

    data: CocoData
    settings: DetectSettings
    detector: str = field(default="", kw_only=True)

    @classmethod
    def checked_options(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the kind of detector; where none is given, the task's first.

        Raises:
            ModelError: there is no such detector, or it does not do the task.
        """
        kind = options.get("detector")
        super().checked_options({name: value for name, value in options.items() if name != "detector"})
        fitting = [name for name, each in DETECTORS.items() if each.masks == ("mask" in cls.kinds)]
        if not kind:
            return {"detector": fitting[0]}
        if kind not in DETECTORS:
            tip = near(kind, DETECTORS) or f"choose {', '.join(DETECTORS)}"
            raise ModelError(Problem(Argument("detector"), f"there is no detector '{kind}'", tip))
        if kind not in fitting:
            does = "makes masks" if DETECTORS[kind].masks else "makes no masks"
            message = f"{DETECTORS[kind].title} {does}, which does not fit the task {cls.task}"
            raise ModelError(Problem(Argument("detector"), message, f"choose {', '.join(fitting)}"))
        return {"detector": kind}

    @classmethod
    def default_settings(cls, data: Any, has_weights: bool) -> str:
        """Return ``coco_1x``."""
        return "coco_1x"

    @classmethod
    def open(
        cls, source: Any, loader: Any, data_dir: str | Path | None = None, watch: Watch | None = None
    ) -> CocoData:
        """Open a data set, with masks where the task has masks; ``shapes`` is drawn if need be."""
        if source is None:
            tip = "`data='shapes'` draws a small one"
            raise DataError(Problem(Argument("data"), "the folder of a data set is needed", tip))
        root = shapes_folder(data_dir) if source == SHAPES_SET else source
        data = open_objects(root, "mask" in cls.kinds, loader.corrupt, watch)
        drawn = (f"the set is in {root}, drawn there on first use",) if source == SHAPES_SET else ()
        return replace(data, source=str(source), notes=(*drawn, *data.notes))

    @property
    def network_key(self) -> tuple[Any, ...]:
        """The detector, its classes, its settings, drop path."""
        chosen = (self.settings.detector.model_dump_json(), self.settings.regularize.model_dump_json())
        return (self.detector, self.data.num_classes, *chosen)

    def base(self) -> Base:
        """Build the backbone without its recipe."""
        model, _ = build_backbone(self.model, self.data, self.settings, allow_code=self.allow_code)
        return Base(model, image_size(self.data, self.settings))

    def around(self, edited: nn.Module) -> nn.Module:
        """Build the detector around its backbone."""
        return build_around(self.detector, edited, self.data, self.settings, self.seed)

    def build(self) -> TrainableModel:
        """Build the detector; errors as of :func:`~hmhsa_insert.detection.network.build_backbone` and ``hi.apply``."""
        base, notes = build_backbone(
            self.model,
            self.data,
            self.settings,
            seed=self.seed,
            init_from=self.init_from,
            pretrained=self.pretrained,
            allow_code=self.allow_code,
        )
        size = image_size(self.data, self.settings)
        made = self.around(base if self.recipe is None else apply(base, self.recipe, size, self.seed))
        if self.settings.compute.memory == "lean":
            set_lean(made)
        # Not evaluated before it was trained, whatever the backbone knows: its heads know nothing.
        return TrainableModel(made, made, size[0], fresh_parameters(made), False, tuple(notes))

    def count(self, model: nn.Module) -> Counts:
        """Count at the settings' largest image: shorter side × longer side."""
        return count_detector(model, (self.settings.detector.min_size, self.settings.detector.max_size))

    def costs(self, model: nn.Module) -> dict[str, int | float | None]:
        """Return what every counter says at the settings' largest image; training memory depends on the images."""
        size = (self.settings.detector.min_size, self.settings.detector.max_size)
        return detector_costs(model, size)

    def one_image(self, network: TrainableModel) -> tuple[nn.Module, tuple[int, ...]]:
        """Return backbone and pyramid, and the size of a square image, padded: others have more pixels."""
        side = -(-min(self.settings.detector.min_size, self.settings.detector.max_size) // CELL) * CELL
        return network.model.get_submodule("backbone"), (network.channels, side, side)

    def train_batches(
        self, network: TrainableModel, shares: Shares, pin: bool
    ) -> KeyedTrainLoader[DetectBatch]:
        """Return this process's batches of the training split.

        Raises:
            SettingsError: settings that do not fit the data or the number of processes.
        """
        workers, hflip = self.settings.loader.workers, self.settings.augment.hflip
        return train_loader(self.data.train, shares, self.seed, hflip, workers, pin)

    def eval_batches(
        self, model: nn.Module, batch_size: int, rank: int, world: int, pin: bool
    ) -> EvalBatchSource:
        """Return this process's batches of the validation split."""
        return eval_loader(self.data.val, batch_size, rank, world, self.settings.loader.workers, pin)

    def objective(self, shares: Shares) -> DetectObjective:
        """Return the detector's own losses."""
        return DetectObjective()

    def evaluate(
        self,
        model: nn.Module,
        batches: Iterable[DetectBatch],
        accelerator: Accelerator,
        *,
        on_batch: Callable[[int], None] | None,
        memory_format: Any,
    ) -> Detection:
        """Run the detector over the validation split; see :func:`evaluate_detector`."""
        return evaluate_detector(model, batches, self.data, accelerator, on_batch=on_batch)

    @property
    def columns(self) -> tuple[str, ...]:
        """``box_AP`` and so on; of masks too where there are masks."""
        return tuple(f"{kind}_{name}" for kind in self.kinds for name in NAMES)

    @property
    def curves(self) -> Sequence[Panel]:
        """The loss, and AP and AP50."""
        scores = {
            f"{prefix}{kind}_{name}": f"{kind} {name}{title}"
            for kind in self.kinds
            for name in ("AP50", "AP")
            for prefix, title in (("", ""), ("ema_", ", averaged weights"))
        }
        return Panel("loss", {"train_loss": "training"}), Panel("average precision", scores)

    def save(self, model: nn.Module, folder: Path) -> Path | None:
        """Write an artifact for ``hi.load`` and ``hmhsa-insert detect``; None if nothing known builds its backbone."""
        return save(model, folder, overwrite=True)

    @classmethod
    def scored(
        cls, config: Mapping[str, Any] | None, settings: Any, asked: Asked, folder: Path | None
    ) -> Scored:
        """Return the data; its categories have to be the detector's.

        Raises:
            DataError: the data cannot be used, or has other categories.
        """
        source = asked.source if asked.source is not None or config is None else config["data"]["source"]
        corrupt: Any = settings.loader.corrupt if settings is not None else "skip"
        root = shapes_folder(asked.data_dir) if source == SHAPES_SET else source
        data = source if isinstance(source, CocoData) else open_objects(root, "mask" in cls.kinds, corrupt)
        if config is not None and data.num_classes != config["data"]["classes"]:
            message = f"it has {data.num_classes} categories, the run's data has {config['data']['classes']}"
            raise DataError(Problem(str(source), message))
        if folder is not None and is_detector(folder / ARTIFACT):
            check_categories(read_detector(folder / ARTIFACT).record, data)
        return Scored(data, None)

    def rebuilt(self, folder: Path, config: Mapping[str, Any], weights: Path) -> nn.Module:
        """Return the detector of a run's folder."""
        return self.build().model

    def details(self, found: Any) -> dict[str, Any]:
        """Return the detector, the size of its images, and COCO's averages of boxes and masks."""
        sizes = self.settings.detector
        size = [sizes.min_size, sizes.max_size]
        return {"detector": self.detector, "size": size, "box": found.box, "mask": found.mask}

    @classmethod
    def tables(cls, rows: Sequence[Mapping[str, Any]], source: str) -> list[Table]:
        """Return the averages of boxes and masks, and what each detector costs."""
        return [precision_table(rows, source)]

    def write_found(self, found: Any, option: str, path: Path) -> str:
        """Write detections in COCO's result format."""
        write_detections(found.detections, path)
        return f"{len(found.detections):,} detections in COCO's result format"

    @classmethod
    def of_model(
        cls,
        model: str | nn.Module,
        asked: Asked,
        pretrained: bool,
        weights: str | Path | None,
        allow_code: bool,
    ) -> tuple[str, Self, nn.Module, bool | None]:
        """Return name, run, model and :attr:`Scored.unseen` of a detector or its folder, at its own size."""
        for name, given in (("pretrained", pretrained), ("weights", weights)):
            if given:
                raise RunError(Problem(Argument(name), "a detector has its own weights"))
        folder = None if isinstance(model, nn.Module) else Path(fetched(model))
        if isinstance(model, nn.Module):
            name, record, made = type(model).__name__, detector_record(model), model
        else:
            name, record = Path(model).name, read_detector(fetched(model)).record
        if record is None:
            tip = "hi.detector and `hmhsa-insert train --task detect` make one"
            raise RunError(Problem(name, "this is not a detector", tip))
        found = cls.scored(None, None, asked, folder)
        check_categories(record, found.data)
        if folder is not None:
            made = load(folder, allow_code=allow_code)
        sizes = {"min_size": record.options["min_size"], "max_size": record.options["max_size"]}
        values = {"epochs": 1, "batch_size": 4, "detector": sizes}
        settings = load_settings(values, asked.overrides, kind=DetectSettings)
        run = cls(model, None, found.data, settings, 0, None, False, detector=record.kind)
        return name, run, made, found.unseen


@dataclass(frozen=True)
class Segment(Detect):
    """A run of instance segmentation, resolved and not begun."""

    task: ClassVar[str] = "segment"
    kinds: ClassVar[tuple[str, ...]] = ("box", "mask")
    best: ClassVar[str] = "mask_AP"
