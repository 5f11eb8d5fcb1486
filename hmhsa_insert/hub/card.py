"""The model card of an artifact, from its files and those of the run that trained it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmhsa_insert.files.run_shapes import NamedRun
from hmhsa_insert.inert import markdown, markdown_code
from hmhsa_insert.quantities import QUANTITIES, score
from hmhsa_insert.quantity import SCORES, Quantity
from hmhsa_insert.recipe.canonical import dump_yaml
from hmhsa_insert.reports.render import render
from hmhsa_insert.reports.runs import run_record
from hmhsa_insert.reports.sources import Record
from hmhsa_insert.surgery.base.load import ModelSource
from hmhsa_insert.surgery.edit.splice import Ledger
from hmhsa_insert.tasks.artifact import read_record
from hmhsa_insert.tasks.table import DEFAULT, TASKS, task_class
from hmhsa_insert.training.data.libraries import SMALL
from hmhsa_insert.training.result import RunResult, read_result
from hmhsa_insert.training.run_folder import read_config
from hmhsa_insert.training.score import task_of

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard

LIBRARY = "hmhsa-insert"
# Of a folder: neither its name nor where it lies is known to be public.
_OWN = "images of their own"


def card(folder: Path, repository: str, run: Path | None = None) -> ModelCard:
    """Return the model card of an artifact.

    Args:
        folder: of the artifact.
        repository: ``USER/NAME``.
        run: the folder of the run that trained it; None if none is known.

    Raises:
        ArtifactError, ReportError: the folder, or the run, is damaged or not finished.
    """
    from huggingface_hub import ModelCard, ModelCardData

    record = _record(run) if run else None
    base, plans = read_record(folder)
    # What a network without a run was trained for, nothing here says.
    task = task_of(run or folder)
    pipeline = TASKS[task].pipeline if run or task != DEFAULT else ""
    results = [_score(run, pipeline)] if run and pipeline else []
    data = ModelCardData(
        library_name=LIBRARY,
        model_name=repository.rpartition("/")[2],
        base_model=base.get("weights"),
        pipeline_tag=pipeline or None,
        tags=[LIBRARY, *_types(plans)],
        datasets=sorted({each.dataset_name for each in results if each.dataset_name != _OWN}) or None,
        metrics=sorted({each.metric_type for each in results}) or None,
        eval_results=results or None,
    )
    text = "\n\n".join(_sections(repository, base, plans, _results(record, run) if record and run else ""))
    return ModelCard(f"---\n{data}\n---\n\n{text}\n")


def _score(run: Path, pipeline: str) -> EvalResult:
    """Return the score of the weights in the artifact, those of the best epoch, as metadata."""
    from huggingface_hub import EvalResult

    name = _data_name(NamedRun.model_validate(read_config(run)).data.source)
    result = _result(run)
    known = _quantity(result)
    return EvalResult(
        task_type=pipeline,
        dataset_type=re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"),
        dataset_name=name,
        dataset_split="validation",
        metric_type=re.sub(r"[^a-z0-9]+", "_", known.name.lower()),
        metric_name=known.header,
        metric_value=result.best,
    )


def _result(run: Path) -> RunResult:
    result = read_result(run)
    assert result is not None  # its record was read, which is that of a finished run
    return result


def _quantity(result: RunResult) -> Quantity:
    """Return the score that picked the best epoch."""
    name = str(task_class(result.task).best)
    return score(name.lower() if name.lower() in QUANTITIES else name)


def _record(run: Path) -> Record:
    """Return the record of a finished run, with the best epoch's score alone and the public name of its data.

    Scores of a run are those of its last epoch, and the weights in its artifact those of the best.
    """
    record = dict(run_record(run))
    data = NamedRun.model_validate(read_config(run)).data
    result = _result(run)
    for each in QUANTITIES.values():
        if each.section == SCORES:
            record.pop(each.path[0], None)
    *outer, last = _quantity(result).path
    best: Any = {last: result.best}
    for key in reversed(outer):
        best = {key: best}
    record.pop("scores", None)
    record.pop("run")  # where its data lies, and on which machine it ran
    return {**record, **best, "data": f"{_data_name(data.source)}, {data.val:,} images"}


def _results(record: Record, run: Path) -> str:
    result = _result(run)
    which = "averaged " if result.best_weights == "ema" else ""
    said = f"The {which}weights of epoch {result.best_epoch} of {result.epochs}, the best one on this validation split."
    table = render([record], "md", columns=["method", "params", "macs", _quantity(result).key])
    return f"{said}\n\n{table.strip()}"


def _data_name(source: str) -> str:
    """Return the name of a known data set; where a folder lies is nobody's business."""
    library, slash, name = source.partition("/")
    is_named = source in SMALL or (slash and library in ("torch", "hfds", "wds"))
    return (name or source) if is_named else _OWN


def _types(plans: Sequence[Ledger]) -> list[str]:
    """Return the types of the blocks that were inserted."""
    types = {str(site.block["type"]) for each in plans for site in each.plan.sites if site.block}
    return sorted(types)


def _sections(
    repository: str, base: Mapping[str, Any], plans: Sequence[Ledger], results: str
) -> Iterator[str]:
    source = ModelSource(str(base["source"])) if base.get("source") else None
    yield f"# {markdown(repository.rpartition('/')[2])}"
    network = markdown_code(source.spec if source else str(base["class"]))
    began = f", from the weights of {markdown_code(base['weights'])}" if base.get("weights") else ""
    yield f"{network}{began}, edited by hmhsa-insert; weights that the edits leave are under their own keys."
    needed = "" if source and source.library else ", base=THE_BASE_NETWORK"
    yield "## How to load it"
    yield (
        "```bash\npip install hmhsa-insert\n```\n\n```python\nimport hmhsa_insert as hi\n\n"
        f'model = hi.load("hf-hub:{repository}"{needed})\n```'
    )
    if results:
        yield "## Results"
        yield results
    if plans:
        yield "## What was inserted"
        yield _edits(plans)
    for ledger in plans:
        yield f"## Recipe {markdown(str(ledger.plan.recipe.get('name', '')))}".rstrip()
        yield f"```yaml\n{dump_yaml(dict(ledger.plan.recipe)).rstrip()}\n```"
    yield "## Made with"
    yield ", ".join(f"{markdown(name)} {markdown(text)}" for name, text in base["versions"].items())


def _edits(plans: Sequence[Ledger]) -> str:
    lines = ["| edit | where | new keys | parameters |", "|---|---|---|---:|"]
    for ledger in plans:
        for site in ledger.plan.sites:
            place, key = markdown_code(site.qualname), markdown_code(site.key or "-")
            lines.append(f"| {markdown(site.edit)} | {place} | {key} | {site.num_params:,} |")
    return "\n".join(lines)
