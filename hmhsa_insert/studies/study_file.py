"""The study file: found, read with places, checked as a whole, its variants and settings made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hmhsa_insert.errors import HmhsaInsertError, Problem, near
from hmhsa_insert.files.text import RECIPE, read_file
from hmhsa_insert.recipe.explain import explain
from hmhsa_insert.recipe.library import find_file, intent_of
from hmhsa_insert.recipe.marks import UNREADABLE, Document, Findings, KeyPath
from hmhsa_insert.recipe.plain import read_mapping
from hmhsa_insert.recipe.scalars import shown
from hmhsa_insert.recipe.yaml_text import read_text
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.schema import Exclusion, ModelEntry, StudyFile
from hmhsa_insert.studies.short_forms import written_out
from hmhsa_insert.studies.standalone import standalone
from hmhsa_insert.studies.study_settings import settings_of, settings_type
from hmhsa_insert.studies.variants import Variant, make_variants
from hmhsa_insert.surgery.base.load import named_by_file
from hmhsa_insert.tasks.table import DEFAULT
from hmhsa_insert.training.run_schema import RunSettings

_MOST_TRIALS = 100_000
_TIP = "see recipes/studies for examples"


@dataclass(frozen=True)
class Study:
    """A study that was read; nothing is planned yet.

    Attributes:
        name: for folders and titles.
        intent: what it asks, in prose.
        task: what is learned.
        options: of the task: the detector, where one is named.
        models: base networks by label.
        variants: in the order of tables.
        baseline: label of the variant the others are compared with.
        settings: training settings by label.
        data: sources.
        seeds: of the trials.
        exclude: trials to leave out.
        allow_code: whether code may run that a file names.
        threads, cpus, gpus: what each trial computes with.
        document: the file's values with their places.
        asked: a study file, as plain data, that asks the same and needs no other recipe or settings file.
    """

    name: str
    intent: str
    task: str
    options: Mapping[str, str]
    models: Mapping[str, ModelEntry]
    variants: tuple[Variant, ...]
    baseline: str
    settings: Mapping[str, RunSettings]
    data: tuple[str, ...]
    seeds: tuple[int, ...]
    exclude: tuple[Exclusion, ...]
    allow_code: bool
    threads: int
    cpus: float
    gpus: float
    document: Document
    asked: Mapping[str, Any]

    def where(self, *path: str | int) -> str:
        """Return the place of a value of the file."""
        return self.document.marks.where(path)


def load_study(source: str | Path | Mapping[str, Any], *, allow_code: bool = False) -> Study:
    """Read a study.

    Args:
        source: a path, the name of a shipped study, or a dict.
        allow_code: whether a file may name factories as its networks; a dict may.

    Raises:
        StudyError: it is not found, cannot be read, or holds problems: all of them.
    """
    folder, intent, name = Path(), "", "study"
    if isinstance(source, Mapping):
        read = read_mapping(source, "study")
        allow_code = True
    else:
        path = find_file(source, "studies", "study file", StudyError)
        text = read_file(path, StudyError, RECIPE)
        folder, intent, name = path.parent, intent_of(text), path.stem
        read = read_text(text, str(path))
        if read.value is None:
            raise StudyError(Problem(str(path), "the file is empty", _TIP))
    if not isinstance(read.value, dict):
        if read.value is not UNREADABLE:
            read.findings.add(
                (), f"a study is a mapping with 'models' and more, found {shown(read.value)}", _TIP
            )
        raise StudyError(read.findings.problems())
    document = written_out(read)
    file = _validated(document)
    problems = read.findings.problems()
    if file is None:
        raise StudyError([*problems, *document.findings.problems()])
    return _made(file, document, folder, name, intent, problems, allow_code)


def _validated(document: Document) -> StudyFile | None:
    """Return what a document says, unknown keys left out once they are noted; None if it cannot be made out."""
    value = document.value
    try:
        return StudyFile.model_validate(value)
    except ValidationError as error:
        for found in explain(error, StudyFile, "the study"):
            document.findings.add(found.path, found.message, found.tip, key=found.key)
        if any(each["type"] != "extra_forbidden" for each in error.errors()):
            return None
        return StudyFile.model_validate(_without(value, {tuple(each["loc"]) for each in error.errors()}))


def _without(value: Any, paths: set[KeyPath], here: KeyPath = ()) -> Any:
    """Return a mapping without what is at `paths`."""
    if not isinstance(value, dict):
        return value
    kept = ((key, item) for key, item in value.items() if (*here, key) not in paths)
    return {key: _without(item, paths, (*here, key)) for key, item in kept}


def _made(
    file: StudyFile,
    document: Document,
    folder: Path,
    name: str,
    intent: str,
    more: list[Problem],
    allow_code: bool,
) -> Study:
    """Make what the file describes; every problem of its recipes, settings and labels together, with those known."""
    findings = document.findings
    variants = make_variants(file.variants, document, folder, more)
    task = file.task or DEFAULT
    kind = settings_type(document, file, task)
    settings = {}
    for label in file.settings:
        try:
            settings[label] = settings_of(document, label, folder, kind)
        except HmhsaInsertError as error:
            more += error.problems
    for label, entry in file.models.items():
        try:
            named_by_file(
                entry.model, document.marks.where(("models", label, "model")), allow_code, StudyError
            )
        except StudyError as error:
            more += error.problems
    models = {label: _beside(entry, folder) for label, entry in file.models.items()}
    for label, entry in models.items():
        if entry.weights is not None and not Path(entry.weights).is_file():
            tip = f"give its path, whole or from {folder or 'here'}"
            findings.add(("models", label, "weights"), f"there is no file {shown(entry.weights)}", tip)
    _refuse_repeated(findings, "data", file.data)
    _refuse_repeated(findings, "seeds", file.seeds)
    baseline = _baseline(findings, file, variants)
    _check_number(findings, file, len(variants))
    problems = [*findings.problems(), *dict.fromkeys(more)]
    if problems:
        raise StudyError(problems)
    name, intent = file.name or name, (file.description or intent).strip()
    return Study(
        name=name,
        intent=intent,
        task=task,
        options=file.around,
        models=models,
        variants=tuple(variants),
        baseline=baseline,
        settings=settings,
        data=tuple(file.data),
        seeds=tuple(file.seeds),
        exclude=tuple(file.exclude),
        allow_code=allow_code,
        threads=file.threads,
        cpus=file.cpus if file.cpus is not None else float(file.threads),
        gpus=file.gpus,
        document=document,
        asked={"name": name, "description": intent} | standalone(file, document, folder, settings),
    )


def _check_number(findings: Findings, file: StudyFile, variants: int) -> None:
    """Count the trials before any is planned."""
    count = variants * len(file.models) * len(file.settings) * len(file.data) * len(file.seeds)
    if count > _MOST_TRIALS:
        message = (
            f"variants, models, settings, data and seeds make {count:,} trials, and a study has at most "
        )
        findings.add((), f"{message}{_MOST_TRIALS:,}", "make several studies of it")


def _beside(entry: ModelEntry, folder: Path) -> ModelEntry:
    """Return an entry whose checkpoint is named from anywhere."""
    if entry.weights is None or not (folder / entry.weights).exists():
        return entry
    return entry.model_copy(update={"weights": str(folder / entry.weights)})


def _refuse_repeated(findings: Findings, key: str, values: Sequence[Any]) -> None:
    seen = set()
    for index, value in enumerate(values):
        if value in seen:
            findings.add((key, index), f"'{key}' lists {shown(value)} twice")
        seen.add(value)


def _baseline(findings: Findings, file: StudyFile, variants: Sequence[Variant]) -> str:
    labels = [variant.label for variant in variants]
    plain = [variant.label for variant in variants if variant.recipe is None and not variant.refused]
    if file.baseline in labels:
        return str(file.baseline)
    if file.baseline is not None:
        tip = f"{near(file.baseline, labels)} variants: {', '.join(labels[:12])}".strip()
        findings.add(("baseline",), f"there is no variant {shown(file.baseline)}", tip)
    elif len(plain) != 1:
        message = f"{len(plain)} variants are plain networks, so the baseline has to be named"
        findings.add(("variants",), message, f"add baseline: {(plain or labels or ['LABEL'])[0]}", key=True)
    return plain[0] if plain else ""
