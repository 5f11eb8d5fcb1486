"""``hmhsa-insert diff A B``: what differs between two artifacts, runs or networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmhsa_insert.commands.options import AllowCodeOption, JsonOption

if TYPE_CHECKING:
    from hmhsa_insert.models.tensor_differences import Shape
    from hmhsa_insert.reports.differences import Subject

_HELP = "A folder that `apply` or `train` wrote, hf-hub:USER/NAME, or a network by name."


def diff(
    one: Annotated[str, typer.Argument(metavar="A", help=_HELP)],
    other: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    json: JsonOption = False,
    allow_code: AllowCodeOption = False,
) -> None:
    """Show what differs between two artifacts, runs or networks: recipes, settings, data, tensors, costs.

    Tensors are compared bit by bit where both have a file of weights, and else by their keys and shapes. That they
    differ is not an error.

    Example: `hmhsa-insert diff resnet18-plain resnet18-stage3`
    """
    from hmhsa_insert.commands.console import print_json
    from hmhsa_insert.commands.printed import print_parts
    from hmhsa_insert.models.tensor_differences import shape_differences, tensor_differences
    from hmhsa_insert.reports.differences import Differences

    (first, shapes, file), (second, others, file2) = (_opened(each, allow_code) for each in (one, other))
    weights = tensor_differences(file, file2) if file and file2 else shape_differences(shapes, others)
    notes = (
        () if file and file2 else ("of a network by name, only keys and shapes of the weights are compared",)
    )
    found = Differences(first, second, weights, notes)
    if json:
        print_json(found.data())
    else:
        print_parts(found.tables())


def _opened(spec: str, allow_code: bool) -> tuple[Subject, dict[str, Shape], Path | None]:
    """Return what is known of a run, an artifact or a network, its tensors' shapes, and its file of weights."""
    from hmhsa_insert.files.hub import fetched
    from hmhsa_insert.models.weights import read_shapes
    from hmhsa_insert.reports.differences import Subject, subject_of
    from hmhsa_insert.reports.runs import is_run, run_record
    from hmhsa_insert.surgery.artifact.artifact import is_artifact, open_model, read_record
    from hmhsa_insert.surgery.artifact.manifest import WEIGHTS
    from hmhsa_insert.training.run_weights import weights_file

    folder = Path(fetched(spec))
    if is_run(folder):
        file = weights_file(folder, "best")
        found = subject_of(run_record(folder))
        return Subject(spec, found.sections, found.recipes), read_shapes(file), file
    if is_artifact(folder):
        base, ledgers = read_record(folder)
        made = {key: str(base.get(key)) for key in ("source", "class", "kwargs")}
        sections: dict[str, dict[str, Any]] = {
            "network": made,
            "software and machine": {k: str(v) for k, v in base["versions"].items()},
        }
        sections |= _costs(spec, allow_code, made["source"])
        file = folder / WEIGHTS
        return Subject(spec, sections, [dict(each.plan.recipe) for each in ledgers]), read_shapes(file), file
    opened = open_model(spec, meta=True)
    shapes = {key: tuple(value.shape) for key, value in opened.model.state_dict().items()}
    return (
        Subject(spec, {"network": {"source": opened.source.spec}, **_costs(spec, allow_code, "")}),
        shapes,
        None,
    )


def _costs(spec: str, allow_code: bool, factory: str) -> dict[str, dict[str, float]]:
    """Return what a network costs; nothing of one that only a factory builds which may not be run."""
    from hmhsa_insert.costs.count import count
    from hmhsa_insert.surgery.artifact.artifact import open_model
    from hmhsa_insert.surgery.base.load import ModelSource

    if factory and not allow_code and not ModelSource(factory).is_library:
        return {}
    opened = open_model(spec, meta=True, **({"allow_code": True} if allow_code else {}))
    counts = count(opened.model, opened.inputs)
    return {"costs": {name: getattr(counts, name) for name in ("num_params", "macs", "macs_modules_only")}}
