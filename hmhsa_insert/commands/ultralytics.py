"""``hmhsa-insert ultralytics MODEL``: ultralytics' own training of a model that a recipe edits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hmhsa_insert.commands.options import RecipeOption
from hmhsa_insert.errors import HmhsaInsertError, ModelError, Problem, first_line


def ultralytics(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A YAML file of ultralytics' package, or a checkpoint FILE.pt."),
    ],
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE...", help="Of ultralytics' training: data=FILE epochs=100 imgsz=640 …"
        ),
    ],
    recipe: RecipeOption,
) -> None:
    """Train a YOLO or RT-DETR with ultralytics; the recipe is applied once the weights are loaded.

    Data, augmentation, EMA, AMP, checkpoints and validation are ultralytics'; `last.pt` and `best.pt` hold the edited
    model. A stopped run goes on: `hmhsa-insert ultralytics LAST.pt resume=True --recipe RECIPE --unsafe-pickle`.

    Example: `hmhsa-insert ultralytics yolo11n.yaml data=coco8.yaml epochs=3 imgsz=320 --recipe stage3.yaml`
    """
    from hmhsa_insert.commands.console import wrote
    from hmhsa_insert.surgery.base.sources.of_ultralytics import Ultralytics, wrapper

    given = _parsed(arguments)
    name = Ultralytics().resolved(model.removeprefix("ultralytics/"), {}).name
    from hmhsa_insert.integrations.ultralytics import trainer

    made = wrapper(name)
    base = made.task_map[made.task]["trainer"]
    try:
        made.train(trainer=trainer(recipe, base=base), **given)
    except (SyntaxError, OSError, AssertionError, ValueError, RuntimeError) as error:
        if isinstance(error, HmhsaInsertError):
            raise
        raise ModelError(Problem(model, f"ultralytics stopped: {first_line(error)}")) from error
    wrote(Path(made.trainer.save_dir), "the run of ultralytics")


def _parsed(arguments: list[str]) -> dict[str, Any]:
    """Return KEY=VALUE texts as keys and values of YAML."""
    import yaml

    found, problems = {}, []
    for text in arguments:
        key, equals, value = text.partition("=")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            found[key] = value
        if not equals or not key.isidentifier():
            problems.append(Problem(text, "this is not KEY=VALUE", "write epochs=100"))
    if problems:
        raise HmhsaInsertError(problems)
    return found
