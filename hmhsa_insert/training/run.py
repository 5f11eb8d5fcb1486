"""Train a network: from its name, or a planned run, to a folder with everything a result needs."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.costs.count import Counts
from hmhsa_insert.costs.environment import environment
from hmhsa_insert.errors import HmhsaInsertError
from hmhsa_insert.recipe import RecipeSource
from hmhsa_insert.tasks.table import DEFAULT
from hmhsa_insert.training.curves import draw_curves
from hmhsa_insert.training.first_look import look_at_network
from hmhsa_insert.training.interfaces import DataSource
from hmhsa_insert.training.loop.assemble import assemble
from hmhsa_insert.training.loop.checkpoint import disk_may_refuse, latest_checkpoint, put_damaged_aside
from hmhsa_insert.training.loop.epoch import close_epoch, evaluate_in_loop
from hmhsa_insert.training.loop.seeding import kept_random_state
from hmhsa_insert.training.loop.stop import Interrupted
from hmhsa_insert.training.loop.updates import Loop
from hmhsa_insert.training.loop.weights import Weights
from hmhsa_insert.training.network import TrainableModel
from hmhsa_insert.training.planned import plan_run
from hmhsa_insert.training.problems import Problems, Stopped
from hmhsa_insert.training.processes import (
    finish_trackers,
    make_accelerator,
    memory_may_run_out,
    on_main,
    set_determinism,
)
from hmhsa_insert.training.provenance import provenance
from hmhsa_insert.training.reporter import Reporter, Silent
from hmhsa_insert.training.result import RunResult, read_result
from hmhsa_insert.training.run_folder import (
    ARTIFACT,
    BEST,
    CURVES,
    EMA,
    ENVIRONMENT,
    EPOCH0,
    LAST,
    RESULT,
    RunFolder,
    folder_name,
    read_config,
)
from hmhsa_insert.training.run_identity import unknown_contents
from hmhsa_insert.training.run_schema import RunSettings
from hmhsa_insert.training.task import Task


@reads_arguments
def train(
    model: str | Path | nn.Module,
    data: str | Path | DataSource | None = None,
    *,
    task: str = DEFAULT,
    recipe: RecipeSource | None = None,
    settings: str | Path | Mapping[str, Any] | RunSettings | None = None,
    overrides: Sequence[str] = (),
    seed: int = 0,
    folder: str | Path | None = None,
    data_dir: str | Path | None = None,
    weights: str | Path | None = None,
    pretrained: bool = False,
    input_size: int | Sequence[int] | None = None,
    allow_code: bool = False,
    reporter: Reporter | None = None,
    **options: Any,
) -> RunResult:
    """Train a network, edited by a recipe or not; go on with it if the folder holds the run already.

    In several processes (``torchrun``, ``accelerate launch``) all of them call this alike. Two runs of one seed see
    the same images in the same order with the same draws, whatever their recipes, and begin with the same base
    weights. A run that was killed, at any moment, ends with the weights and metrics of one that was not.

    Args:
        model: what ``hi.load_model`` takes, the folder of an artifact, or a network, which is copied.
        data: a source, see :func:`~hmhsa_insert.training.data.open_data`, ``digits`` if left out; of detectors the
            folder of a data set with boxes (COCO json, YOLO labels, Pascal VOC XML, CSV).
        task: ``classify``, ``detect``, ``segment``, ``semantic``, or another in
            :data:`~hmhsa_insert.tasks.table.TASKS`; the model becomes a detector's or segmenter's backbone.
        recipe: a path, the name of a shipped recipe, or a dict; None trains the network as it is.
        settings: a path, the name of shipped settings, or a dict; None: ``finetune`` where there are weights to begin
            with, an artifact's too; ``digits`` for the small data sets, else ``imagenet_300e``.
        overrides: ``key=value`` or ``section.key=value``.
        seed: of base weights, blocks, order and draws.
        folder: of the run; None: ``runs/`` and the run's name.
        data_dir: where downloaded data is kept.
        weights: a file of base weights, by the base network's own keys.
        pretrained: begin with the library's weights.
        input_size: of the images, 96 for squares of 96 × 96; wins over the settings.
        allow_code: build an artifact's base network with the factory that it names, if you trust the artifact.
        reporter: is called with what happens.
        options: the task's own: ``detector`` of ``detect`` and ``segment``, ``decoder`` of ``semantic``.

    Returns:
        The task's :class:`~hmhsa_insert.training.result.RunResult`, as
        :func:`~hmhsa_insert.training.result.read_result` reads it from the folder: of classification with ``top1``,
        ``top5`` and ``loss``, of detectors with ``box`` and ``mask``, of ``semantic`` with ``miou``;
        type checkers see which by `task`.

    Raises:
        SettingsError, DataError, RunError, TrainingError: what is wrong.
        ModelError, RecipeError, PlanError, WeightsError, ArtifactError: as the functions that build the network.
        StartError: problems of several kinds, all of them, found before the data's files are read.
        Stopped: on Ctrl-C or SIGTERM; the place is saved, and the same call goes on from it.

    Example:
        >>> import hmhsa_insert as hi
        >>> quick = ["epochs=1", "compute.device=cpu"]
        >>> result = hi.train("test_resnet", "digits", input_size=16, overrides=quick, folder="run")
        >>> result.task, result.epochs, result.top1 > 10
        ('classify', 1, True)
    """
    if "init_from" in options:
        warnings.warn("init_from is now weights", DeprecationWarning, stacklevel=2)
        weights = options.pop("init_from")
    planned = plan_run(
        model,
        data,
        task=task,
        recipe=recipe,
        settings=settings,
        overrides=overrides,
        seed=seed,
        data_dir=data_dir,
        init_from=weights,
        pretrained=pretrained,
        input_size=input_size,
        allow_code=allow_code,
        **options,
    )
    return train_run(planned, folder, reporter)


def train_run(planned: Task, folder: str | Path | None = None, reporter: Reporter | None = None) -> RunResult:
    """Do as :func:`train` with a run that was planned, whatever its task."""
    where = RunFolder(Path(folder) if folder is not None else Path("runs") / folder_name(planned.name))
    accelerator = make_accelerator(planned.settings, where.path)
    reports: Reporter = reporter if reporter is not None and accelerator.is_main_process else Silent()
    with ExitStack() as stack:
        on_main(accelerator, lambda: where.take(planned.config))
        stack.callback(where.release)
        # After everything that was begun since has ended, on whatever error, and on Ctrl-C.
        stack.push(lambda kind, *_: where.discard() if kind else None)
        if reports is reporter and (note := unknown_contents(read_config(where.path), planned.config)):
            reports.note(note)
        if (done := read_result(where.path)) is not None:
            reports.note(f"finished before: {where.path}")
            return done
        stack.enter_context(kept_random_state())
        stack.callback(finish_trackers, accelerator)
        try:
            with memory_may_run_out():
                return _train(planned, where, accelerator, reports)
        except HmhsaInsertError as error:
            if (
                accelerator.num_processes > 1
            ):  # it may be this process's alone, so that no other one reports it
                error.add_note(f"in process {accelerator.process_index}")
            raise


def _train(planned: Task, folder: RunFolder, accelerator: Accelerator, reports: Reporter) -> RunResult:
    set_determinism(planned.settings.compute)
    network = _built(planned)
    for note in (*planned.notes, *planned.data.notes, *network.notes):
        reports.note(note)
    weights = Weights(accelerator, network.model, folder.path)
    costs = planned.count(network.model)
    loop = assemble(planned, network, accelerator, folder.checkpoints, reports)
    with loop.stop, closing(loop):
        _begin(loop, planned, network, folder)
        try:
            while loop.progress.epoch < planned.settings.epochs:
                loop.train_epoch()
                close_epoch(loop, folder, weights, planned.data.val)
                loop.stop_if_asked()
        except Interrupted:
            loop.stop_here()
        return _finish(loop, planned, folder, weights, costs)


def _built(planned: Task) -> TrainableModel:
    """Build the network; where its weights are refused, say too whether the recipe would fit."""
    found, made = Problems(), None
    with found.part():
        made = planned.build()
    if found and planned.init_from is not None:
        known = (planned.model, planned.settings, planned.recipe)
        look_at_network(found, *known, None, False, planned.allow_code)
    found.raise_any()
    assert made is not None
    return made


def _begin(loop: Loop, planned: Task, network: TrainableModel, folder: RunFolder) -> None:
    """Go back to the last checkpoint, or evaluate what the run begins with if that was trained before."""
    accelerator = loop.accelerator
    if accelerator.is_main_process:
        here = asdict(environment()) | {
            "processes": accelerator.num_processes,
            "device": str(accelerator.device),
        }
        folder.write_json(ENVIRONMENT, here | provenance(planned.settings, network))
    accelerator.init_trackers("hmhsa-insert", {"model": str(planned.config["model"]), "seed": planned.seed})
    on_main(accelerator, lambda: _put_damaged_aside(loop, folder))
    checkpoint = latest_checkpoint(folder.checkpoints)
    if checkpoint is not None:
        loop.restore(checkpoint)
        loop.reporter.note(f"going on after update {loop.progress.total} (epoch {loop.progress.epoch + 1})")
    elif network.has_weights:
        try:
            _evaluate_start(loop, network, folder)
        except Interrupted:
            message = "stopped before the first update: there was nothing to save"
            raise Stopped(message, loop.stop.signal or signal.SIGINT) from None


def _put_damaged_aside(loop: Loop, folder: RunFolder) -> None:
    for said in put_damaged_aside(folder.checkpoints):
        loop.reporter.note(said)


def _evaluate_start(loop: Loop, network: TrainableModel, folder: RunFolder) -> None:
    """Evaluate base and edited network before the first update; with identity insertion they agree exactly."""
    found = {"edited": evaluate_in_loop(loop, loop.model)}
    if network.base is not network.model:
        base = network.base.to(loop.accelerator.device)
        found = {"base": evaluate_in_loop(loop, base), **found}
    if loop.accelerator.is_main_process:
        scores = {name: {k.removeprefix("val_"): v for k, v in e.row.items()} for name, e in found.items()}
        folder.write_json(EPOCH0, scores)
    for name, each in found.items():
        loop.reporter.note(f"epoch 0, {name}: {each.said}")


def _finish(loop: Loop, planned: Task, folder: RunFolder, weights: Weights, costs: Counts) -> RunResult:
    """Write what a finished run has: weights, artifact, curves, result."""
    weights.write(LAST, loop.model)
    if loop.average is not None:
        weights.write(EMA, loop.average.module)
    damaged = loop.progress.all_damaged()
    if damaged:
        more = f" and {len(damaged) - 5} more" if len(damaged) > 5 else ""
        loop.reporter.note(f"{len(damaged)} damaged images were skipped: {', '.join(damaged[:5])}{more}")
    result = on_main(loop.accelerator, lambda: _write_result(loop, planned, folder, weights, costs, damaged))
    loop.accelerator.wait_for_everyone()
    if result is None:
        result = read_result(folder.path)
    assert result is not None
    return result


def _write_result(
    loop: Loop,
    planned: Task,
    folder: RunFolder,
    weights: Weights,
    costs: Counts,
    damaged: Sequence[str],
) -> RunResult:
    progress, averaged = loop.progress, loop.average is not None
    with disk_may_refuse(folder.path / ARTIFACT):
        weights.write_artifact(ARTIFACT, BEST, planned.save)
    with disk_may_refuse(folder.path / CURVES):
        draw_curves(progress.history, planned.curves, folder.path / CURVES)
    finished = dict(  # noqa: C408
        folder=folder.path,
        run_id=planned.run_id,
        weights="ema" if averaged else "model",
        best_epoch=progress.best.epoch,
        best_weights=progress.best.weights,
        epochs=progress.epoch,
        updates=progress.total,
        images=progress.total * planned.settings.batch_size,
        num_params=costs.num_params,
        macs=costs.macs,
        macs_modules_only=costs.macs_modules_only,
        damaged=tuple(damaged),
    )
    prefix = "ema_" if averaged else ""
    result = planned.result(finished, progress.history[-1], prefix, progress.best.score)
    folder.write_json(RESULT, result.to_dict())
    return result
