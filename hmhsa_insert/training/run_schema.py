"""The training settings as data: every key, its meaning, its span.

A shipped file holds one combination that works (see ``recipes/training``). Keys that are left out have the values
written here, which turn the thing in question off.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Pair = Annotated[tuple[PositiveFloat, PositiveFloat], Field(strict=False)]
# Where in the settings, what contradicts what, and what to do about it.
Contradiction = tuple[tuple[str, ...], str, str]


class Section(BaseModel):
    """Settings that belong together; unknown keys and values of other types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class OptimizerSettings(Section):
    """How weights are changed.

    Attributes:
        name: timm's name of the optimizer.
        lr: learning rate at the top of the schedule.
        lr_batch_size: batch for which `lr` is meant; it is scaled linearly to the run's. None: `lr` as it stands.
        weight_decay: of matrices and kernels; biases, norms and gamma never decay.
        betas: of Adam-like optimizers.
        momentum: of SGD-like optimizers.
        clip_norm: largest norm of all gradients together; None: no clipping.
    """

    name: str = "adamw"
    lr: PositiveFloat = 1e-3
    lr_batch_size: PositiveInt | None = None
    weight_decay: NonNegativeFloat = 0.05
    betas: Pair = (0.9, 0.999)
    momentum: BelowOne = 0.9
    clip_norm: PositiveFloat | None = None


class ScheduleSettings(Section):
    """How the learning rate moves, once per update.

    Attributes:
        name: timm's name of the schedule.
        warmup_epochs: from `warmup_lr` up to the optimizer's `lr`; may be a fraction.
        warmup_lr: where the warm-up starts.
        min_lr: where cosine and poly end.
        decay_epochs: for step: epochs between two decays.
        milestones: for multistep: the epochs after which the rate decays.
        decay_rate: for step and multistep: the factor; for poly: the power.
    """

    name: Literal["cosine", "poly", "step", "multistep", "constant"] = "cosine"
    warmup_epochs: NonNegativeFloat = 0
    warmup_lr: NonNegativeFloat = 1e-6
    min_lr: NonNegativeFloat = 1e-5
    decay_epochs: PositiveInt = 30
    milestones: Annotated[tuple[PositiveInt, ...], Field(strict=False)] = ()
    decay_rate: PositiveFloat = 0.1


class RegularizeSettings(Section):
    """What the network's own factory is asked for.

    Attributes:
        drop_path: largest probability of a dropped residual branch; 0 leaves the factory's default.
        dropout: in front of the head; None leaves the factory's default.
    """

    drop_path: BelowOne = 0.0
    dropout: BelowOne | None = None


class EmaSettings(Section):
    """Averaged weights, which are evaluated beside the trained ones.

    Attributes:
        decay: share of the average that stays at each update.
        warmup: begin with less, so that short runs average too.
    """

    decay: BelowOne = 0.9999
    warmup: bool = True


class FinetuneSettings(Section):
    """What is trained how fast, where base weights exist already.

    Attributes:
        new_lr_scale: factor on the learning rate of new parameters: inserted blocks, a new head or stem.
        layer_decay: factor on the learning rate from each layer to the one before it (timm's networks).
        freeze_base_epochs: for so many epochs only new parameters change.
        only_new_blocks: only new parameters change, ever.
    """

    new_lr_scale: PositiveFloat = 1.0
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    freeze_base_epochs: NonNegativeInt = 0
    only_new_blocks: bool = False


class ComputeSettings(Section):
    """What it runs on.

    Attributes:
        device: auto (an accelerator if there is one) or cpu.
        precision: of the forward and backward: no (float32), bf16 or fp16.
        channels_last: keep images and weights NHWC in memory.
        memory: lean: blocks that can compute again in the backward pass what others keep (`memory: lean`).
        compile: run the network through ``torch.compile``.
        deterministic: ask torch for deterministic kernels, where it has them.
        find_unused_parameters: for networks of which a forward may skip a part, in several processes.
    """

    device: Literal["auto", "cpu"] = "auto"
    precision: Literal["no", "bf16", "fp16"] = "no"
    channels_last: bool = False
    memory: Literal["fast", "lean"] = "fast"
    compile: bool = False
    deterministic: bool = False
    find_unused_parameters: bool = False


class ReadSettings(Section):
    """How images are read.

    Attributes:
        workers: processes that read and augment; None: by the source and the machine.
        corrupt: skip (replace in training, leave out in evaluation, count and name) or error.
    """

    workers: Annotated[int, Field(ge=0, le=1024)] | None = None
    corrupt: Literal["skip", "error"] = "skip"


class RunSettings(Section):
    """What determines a training whatever is learned, besides network, recipe, data and seed.

    Attributes:
        version: of this file format, 1.
        epochs: passes over the training split.
        batch_size: images of one update, over all processes and accumulated batches together.
        accumulate: into how many batches of each process an update is split.
        checkpoint_steps: updates between two checkpoints inside an epoch; every epoch ends with one.
        checkpoint_minutes: minutes after which the next one is written, whatever `checkpoint_steps` says.
        trackers: names of accelerate's trackers: tensorboard, wandb, mlflow, …
        optimizer, schedule, regularize, ema, finetune, compute, loader: the sections.
    """

    version: Literal[1] = 1
    epochs: PositiveInt
    batch_size: PositiveInt
    accumulate: PositiveInt = 1
    checkpoint_steps: PositiveInt = 1000
    checkpoint_minutes: PositiveFloat = 3
    trackers: Annotated[tuple[str, ...], Field(strict=False)] = ()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    regularize: RegularizeSettings = RegularizeSettings()
    ema: EmaSettings | None = None
    finetune: FinetuneSettings = FinetuneSettings()
    compute: ComputeSettings = ComputeSettings()
    loader: ReadSettings = ReadSettings()

    @property
    def lr(self) -> float:
        """The learning rate at the top of the schedule, for this batch size."""
        scale = self.batch_size / self.optimizer.lr_batch_size if self.optimizer.lr_batch_size else 1.0
        return self.optimizer.lr * scale

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield what no single value shows."""
        schedule = self.schedule
        if self.batch_size % self.accumulate:
            yield ("accumulate",), f"{self.accumulate} batches do not divide batch_size {self.batch_size}", ""
        if schedule.warmup_epochs >= self.epochs and schedule.warmup_epochs:
            message = f"{schedule.warmup_epochs:g} epochs of warm-up leave none of {self.epochs} for the rest"
            yield ("schedule", "warmup_epochs"), message, ""
        if (schedule.name == "multistep") != bool(schedule.milestones):
            yield ("schedule", "milestones"), "'milestones' and 'name: multistep' need each other", ""
        if any(epoch >= self.epochs for epoch in schedule.milestones):
            yield ("schedule", "milestones"), f"not all come before the end, {self.epochs} epochs", ""
        if self.finetune.freeze_base_epochs > self.epochs:
            tip = "write only_new_blocks: true to leave the base as it is for good"
            yield ("finetune", "freeze_base_epochs"), f"more than the {self.epochs} epochs there are", tip


# Keys that change where or how fast a run computes, not what: a run may go on with others.
OPERATIONAL = ("checkpoint_steps", "checkpoint_minutes", "trackers", "loader.workers")
# Keys that runs of earlier versions do not have: what is not set says as little as what is not there.
ADDED = ("loader.train", "loader.val", "loader.channels")
