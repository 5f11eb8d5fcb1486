"""``hmhsa-insert train MODEL --recipe R --data SOURCE``: train a network, or go on with a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmhsa_insert.commands.naming import in_options
from hmhsa_insert.commands.options import (
    AllowCodeOption,
    DataDirOption,
    DataOption,
    JsonOption,
    ModelArgument,
    PretrainedOption,
    SeedOption,
    SizeOption,
    WeightsOption,
    read_size,
)
from hmhsa_insert.commands.shared import shared
from hmhsa_insert.errors import Argument, HmhsaInsertError, Problem
from hmhsa_insert.files.machine import is_first_process
from hmhsa_insert.inert import visible
from hmhsa_insert.quantities import QUANTITIES, line
from hmhsa_insert.tasks.table import DEFAULT, TASKS, refuse_options, task_class

if TYPE_CHECKING:
    from hmhsa_insert.training import OptimizerStep, Reporter
    from hmhsa_insert.training.result import RunResult


def train(
    model: ModelArgument,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            "-r",
            metavar="RECIPE",
            help="A recipe file or a shipped name; none: train it as it is.",
        ),
    ] = None,
    data: DataOption = None,
    task: Annotated[
        str,
        typer.Option(metavar="TASK", help=f"What is learned: {', '.join(TASKS)}; MODEL becomes a backbone."),
    ] = DEFAULT,
    detector: Annotated[
        str | None,
        typer.Option(help="retinanet (default), fasterrcnn; to segment, maskrcnn."),
    ] = None,
    decoder: Annotated[
        str | None,
        typer.Option(help="Of semantic: semantic_fpn (default), fpn, unet, upernet, …"),
    ] = None,
    settings: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Training settings: a file or a shipped name; default: by data and weights.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data; wins over the settings.")] = None,
    seed: SeedOption = 0,
    output: Annotated[
        Path | None,
        shared("--output", writes="the run", metavar="DIR", more="Default: a folder under runs/."),
    ] = None,
    weights: WeightsOption = None,
    pretrained: PretrainedOption = False,
    input_size: SizeOption = None,
    data_dir: DataDirOption = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="One setting, such as optimizer.lr=2e-3; repeatable."
        ),
    ] = None,
    allow_code: AllowCodeOption = False,
    json: JsonOption = False,
) -> None:
    """Train a network, edited by a recipe or not. The same command goes on with an unfinished run.

    Examples:
    - `hmhsa-insert train irb_tiny --recipe transcnn.yaml --data digits --epochs 4 -o run`
    - `hmhsa-insert train resnet50 --task detect --detector retinanet --data /data/coco --pretrained`
    - `torchrun --nproc-per-node 8 --no-python hmhsa-insert train resnet50 --recipe stage3.yaml --data /data/imagenet`
    """
    from hmhsa_insert.commands.console import notes, out, print_json, progress, report_error, watching, wrote
    from hmhsa_insert.training import SettingsError, Stopped, train_run
    from hmhsa_insert.training.planned import plan_run
    from hmhsa_insert.training.problems import Problems
    from hmhsa_insert.training.processes import leave_processes

    first = is_first_process()
    try:
        with progress.status("reading the data") as status:
            task_class(task)
            problems = Problems()
            with problems.part():
                asked = {"detector": detector, "decoder": decoder, "data_dir": data_dir}
                refuse_options(task, {name: value is not None for name, value in asked.items()})
            chosen = [f"epochs={epochs}"] if epochs is not None and epochs > 0 else []
            with problems.part():
                if epochs is not None and not chosen:
                    raise SettingsError(
                        Problem(Argument("epochs"), f"must be greater than 0, found {epochs}")
                    )
            side = None
            with problems.part():
                side = read_size(input_size)
            planned = plan_run(
                model,
                data,
                task=task,
                recipe=recipe,
                settings=settings,
                overrides=[*(overrides or []), *chosen],
                seed=seed,
                init_from=weights,
                pretrained=pretrained,
                input_size=side,
                data_dir=data_dir,
                allow_code=allow_code,
                watch=watching(status),
                problems=problems,
                **_around(asked if not problems else {}),
            )
        with _reporter() as reporter:
            result = train_run(planned, output, reporter)
    except Stopped as stopped:
        if first:
            notes.print(f"{stopped}; the same command goes on from there", markup=False, soft_wrap=True)
        sys.exit(128 + stopped.signal)
    except HmhsaInsertError as error:
        # An error of all processes is reported once; one that may be a single process's, by that process.
        if first or getattr(error, "__notes__", None):
            report_error(error)
        sys.exit(1)
    finally:
        leave_processes()
    if first and json:
        print_json(result.to_dict())
    elif first:
        out.print(_summary(result))
        wrote(result.folder, "the run; hmhsa-insert evaluate scores it")


def _around(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what names the whole around a backbone, of the options that were given."""
    return {name: asked[name] for name in ("detector", "decoder") if asked.get(name) is not None}


def _summary(result: RunResult) -> str:
    """Return the scores after the last epoch, and the best one."""
    loss_last = dict(sorted(result.scores.items(), key=lambda score: score[0] == "loss"))
    said = ", ".join(_written(loss_last))
    averaged = " of the averaged weights" if result.weights == "ema" else ""
    best = line(task_class(result.task).best, result.best)
    return f"{said}{averaged}; best {best} in epoch {result.best_epoch} of {result.epochs}"


# The loss and top-5 stand in no table; epochs leave top-5 out, so that their lines stay short.
_FORMS = {"val_loss": "val loss {:.4f}", "loss": "loss {:.4f}", "top5": "top-5 {:.2f} %"}
_NO_SCORES = ("epoch", "updates", "images", "lr", "top5", "ema_top5", "ema_val_loss")


def _written(scores: Mapping[str, float | None]) -> list[str]:
    """Return scores that are known, as a line shows them; those of averaged weights say so."""
    texts = {
        name: _FORMS[name].format(value) if name in _FORMS else line(name.removeprefix("ema_"), value)
        for name, value in scores.items()
        if value is not None
    }
    return [f"averaged {text}" if name.startswith("ema_") else text for name, text in texts.items() if text]


def _reporter() -> _Lines | _Bar:
    from hmhsa_insert.commands.console import notes

    return _Bar() if notes.is_terminal and not notes.quiet else _Lines()


class _Lines:
    """One line an epoch, for logs."""

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def note(self, text: str) -> None:
        from hmhsa_insert.commands.console import notes

        notes.print(visible(in_options(text)), soft_wrap=True)

    def step(self, step: OptimizerStep) -> None:
        pass

    def evaluating(self, images: int) -> None:
        pass

    def epoch(self, row: dict[str, float | int | None], timing: dict[str, float | int | None]) -> None:
        parts = [f"epoch {row['epoch']:>3}", f"lr {row['lr']:.2e}", f"loss {row['train_loss']:.4f}"]
        scores = {
            name: value
            for name, value in row.items()
            if name not in _NO_SCORES and not name.startswith("train_")
        }
        parts += _written(scores)
        parts.append(f"{timing['images_per_s']:.0f} images/s")
        self.note("  ".join(parts))


class _Bar(_Lines):
    """A progress bar over the updates of an epoch, a line above it when one ends."""

    def __enter__(self) -> Reporter:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        from hmhsa_insert.commands.console import notes

        # Narrow, so that a line of 80 columns holds all of it, and a run of a million updates too.
        bar, share, left = BarColumn(bar_width=11), TaskProgressColumn(), TimeRemainingColumn()
        columns = (TextColumn("{task.description}"), bar, share, left)
        self._progress = Progress(*columns, TextColumn("{task.fields[said]}"), console=notes, transient=True)
        self._task = self._progress.add_task("starting", total=None, said="")
        self._progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._progress.stop()

    def step(self, step: OptimizerStep) -> None:
        meters = [line(name, value) for name, value in step.meters.items() if name in QUANTITIES]
        said = " ".join([f"loss {step.loss:.3f}", *meters, f"{step.images_per_s:.0f} img/s"])
        done = (step.epoch - 1) * step.updates + step.update
        self._progress.update(
            self._task,
            description=f"epoch {step.epoch}/{step.epochs}",
            total=step.epochs * step.updates,
            completed=done,
            said=said,
        )

    def evaluating(self, images: int) -> None:
        self._progress.update(self._task, said="evaluating")
