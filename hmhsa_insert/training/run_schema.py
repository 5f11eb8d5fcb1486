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

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class OptimizerSettings(Section):
    """How weights are changed."""

    name: str = "adamw"
    """Optimizer, by its name in timm."""
    lr: PositiveFloat = 1e-3
    """Learning rate at the top of the schedule."""
    lr_batch_size: PositiveInt | None = None
    """Batch size that `lr` is given for; `lr` is scaled linearly to the run's. null: no scaling."""
    weight_decay: NonNegativeFloat = 0.05
    """Weight decay of matrices and kernels; biases, norms and gamma never decay."""
    betas: Pair = (0.9, 0.999)
    """Betas of Adam-like optimizers."""
    momentum: BelowOne = 0.9
    """Momentum of SGD-like optimizers."""
    clip_norm: PositiveFloat | None = None
    """Largest norm of all gradients together; null: no clipping."""


class ScheduleSettings(Section):
    """How the learning rate moves, once per update."""

    name: Literal["cosine", "poly", "step", "multistep", "constant"] = "cosine"
    """Schedule of the learning rate, by its name in timm."""
    warmup_epochs: NonNegativeFloat = 0
    """Epochs from `warmup_lr` up to the optimizer's `lr`; may be a fraction."""
    warmup_lr: NonNegativeFloat = 1e-6
    """Learning rate at the start of the warm-up."""
    min_lr: NonNegativeFloat = 1e-5
    """Learning rate at the end of cosine and poly."""
    decay_epochs: PositiveInt = 30
    """For step: epochs between two decays."""
    milestones: Annotated[tuple[PositiveInt, ...], Field(strict=False)] = ()
    """For multistep: the epochs after which the rate decays."""
    decay_rate: PositiveFloat = 0.1
    """For step and multistep: the factor; for poly: the power."""


class RegularizeSettings(Section):
    """What the network's own factory is asked for."""

    drop_path: BelowOne = 0.0
    """Largest probability of a dropped residual branch; 0 leaves the factory's default."""
    dropout: BelowOne | None = None
    """Dropout in front of the head; null leaves the factory's default."""


class EmaSettings(Section):
    """Averaged weights, which are evaluated beside the trained ones."""

    decay: BelowOne = 0.9999
    """Decay of the EMA at each optimizer step."""
    warmup: bool = True
    """Warm up the decay, so that the EMA of a short run is useful too."""


class FinetuneSettings(Section):
    """What is trained how fast, where base weights exist already."""

    new_lr_scale: PositiveFloat = 1.0
    """Factor on the learning rate of new parameters: inserted blocks, a new head or stem."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """Factor on the learning rate from each layer to the one before it (timm's networks)."""
    freeze_base_epochs: NonNegativeInt = 0
    """Epochs in which only new parameters change."""
    only_new_blocks: bool = False
    """Only new parameters change, ever."""


class ComputeSettings(Section):
    """What it runs on."""

    device: Literal["auto", "cpu"] = "auto"
    """Where it runs: auto (an accelerator if there is one) or cpu."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Precision of the forward and backward pass: no (float32), bf16 or fp16."""
    channels_last: bool = False
    """Use the channels_last memory format for images and weights."""
    memory: Literal["fast", "lean"] = "fast"
    """`lean`: activation checkpointing in the blocks that have it; `fast`: all activations are kept."""
    compile: bool = False
    """Run the network through ``torch.compile``."""
    deterministic: bool = False
    """Ask torch for deterministic kernels, where it has them."""
    find_unused_parameters: bool = False
    """For networks of which a forward may skip a part, in several processes."""


class ReadSettings(Section):
    """How images are read."""

    workers: Annotated[int, Field(ge=0, le=1024)] | None = None
    """Processes that read and augment; null: by the source and the machine."""
    corrupt: Literal["skip", "error"] = "skip"
    """Images that cannot be read: skip (replaced in training, left out in evaluation, counted and named) or error."""


class RunSettings(Section):
    """What determines a training whatever is learned, besides network, recipe, data and seed."""

    version: Literal[1] = 1
    """Version of this file format."""
    epochs: PositiveInt
    """Passes over the training split."""
    batch_size: PositiveInt
    """Effective batch size: images per optimizer step, over all processes and accumulation steps."""
    epoch_steps: PositiveInt | None = None
    """Optimizer steps in an epoch at most; null: as many as the training split has batches for."""
    accumulate: PositiveInt = 1
    """Gradient accumulation steps per optimizer step."""
    checkpoint_steps: PositiveInt = 1000
    """Optimizer steps between two checkpoints inside an epoch; every epoch ends with one."""
    checkpoint_minutes: PositiveFloat = 3
    """Minutes after which a checkpoint is written, whatever `checkpoint_steps` says."""
    trackers: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Names of accelerate's trackers: tensorboard, wandb, mlflow, …"""
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

    @property
    def image_side(self) -> int:
        """Side of the square image at which the network's maps are measured, in pixels."""
        return 224

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
ADDED = ("epoch_steps", "loader.train", "loader.val", "loader.channels")
