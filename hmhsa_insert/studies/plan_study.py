"""Plan a study: every trial, what it costs, which are the same, and every variant that cannot be planned."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmhsa_insert.errors import Problem
from hmhsa_insert.recipe.scalars import shown
from hmhsa_insert.studies.cell import Cell, Costs, Refusal, Trial
from hmhsa_insert.studies.identity import trial_id
from hmhsa_insert.studies.planner import Planner
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.schema import Exclusion
from hmhsa_insert.studies.study_file import Study
from hmhsa_insert.studies.trial import forget_data
from hmhsa_insert.studies.variants import Variant
from hmhsa_insert.tasks.table import DEFAULT
from hmhsa_insert.training.names import shown as shown_name
from hmhsa_insert.training.result import score_name


@dataclass(frozen=True)
class PlannedStudy:
    """A study of which every trial can be run.

    Attributes:
        study: what was asked.
        trials: all of them, in the order of the study; trials of one identity are listed as often as asked for.
        costs: of every cell, by its digest.
        images: that one trial of every cell trains on, by its digest.
        notes: what users should know.
        refused: recipes that a network refuses and another one takes, or that the study leaves out there.
    """

    study: Study
    trials: tuple[Trial, ...]
    costs: Mapping[str, Costs]
    images: Mapping[str, int]
    notes: tuple[str, ...]
    refused: tuple[Refusal, ...] = ()

    @property
    def distinct(self) -> dict[str, Trial]:
        """Every trial once, by its identity."""
        found: dict[str, Trial] = {}
        for trial in self.trials:
            found.setdefault(trial.id, trial)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return what ``study.json`` holds; of a study of classification, what version one wrote."""
        scores = {score_name(trial.cell.column) for trial in self.trials}
        task = {} if self.study.task == DEFAULT else {"task": self.study.task, "score": scores.pop()}
        return {
            "kind": "study",
            "version": 1,
            **task,
            "name": self.study.name,
            "intent": self.study.intent,
            "baseline": self.study.baseline,
            "variants": [variant.label for variant in self.study.variants],
            "trials": [_listed(trial, self.study.baseline) for trial in self.trials],
            "notes": list(self.notes),
            "controls": {
                each.label: {"of": each.of, "control": each.control}
                for each in self.study.variants
                if each.control
            },
            "refused": [
                {"variant": each.cell.variant, "group": each.cell.group, "reason": each.reason}
                for each in self.refused
            ],
            "asked": dict(self.study.asked),
        }


def plan_study(
    study: Study, *, data_dir: str | Path | None = None, plugins: Sequence[str] = ()
) -> PlannedStudy:
    """Plan every trial of a study; each network is built and each recipe resolved once, whatever the seeds.

    Args:
        study: from :func:`~hmhsa_insert.studies.study_file.load_study`.
        data_dir: where downloaded data is kept.
        plugins: modules that were imported because they add block types; trials import them too.

    Raises:
        StudyError: all variants that no network takes, all networks that cannot be built, all data that cannot be
            opened, and exclusions that leave out nothing.
    """
    forget_data()
    problems: list[Problem] = []
    planner = Planner(study, problems)
    used: set[int] = set()
    cells, kept_seeds, left_out = [], [], []
    for cell, variant in _cells(study, str(data_dir) if data_dir is not None else None, tuple(plugins)):
        seeds = [seed for seed in study.seeds if not _excluded(study.exclude, cell, seed, used)]
        if not seeds:
            left_out.append((cell, variant))
        elif (planned := planner.plan(cell, variant)) is not None:
            cells.append(planned)
            kept_seeds.append(seeds)
    refused = planner.refused({cell.variant for cell in cells}, left_out)
    for index in set(range(len(study.exclude))) - used:
        problems.append(
            Problem(study.where("exclude", index), "this leaves out nothing", "is a name misspelt?")
        )
    if not cells and not problems:
        problems.append(Problem(study.where("exclude"), "this leaves out every trial"))
    if problems:
        raise StudyError(dict.fromkeys(problems))
    trials = tuple(
        Trial(trial_id(cell.digest, seed), cell, seed)
        for cell, seeds in zip(cells, kept_seeds, strict=True)
        for seed in seeds
    )
    of_data = (f"{shown_name(data)}: {note}" for data, said in planner.data_notes.items() for note in said)
    notes = (*of_data, *_notes(study, cells))
    return PlannedStudy(study, trials, planner.costs, planner.images, notes, refused)


def _cells(study: Study, data_dir: str | None, plugins: tuple[str, ...]) -> Iterator[tuple[Cell, Variant]]:
    """Yield every combination but seeds, without digests."""
    for variant in study.variants:
        recipe = variant.recipe.to_dict() if variant.recipe is not None else None
        for model, entry in study.models.items():
            for label, settings in study.settings.items():
                for data in study.data:
                    cell = Cell(
                        variant=variant.label,
                        model=model,
                        settings_label=label,
                        task=study.task,
                        options=study.options,
                        spec=entry.model,
                        pretrained=entry.pretrained,
                        init_from=entry.weights,
                        recipe=recipe,
                        settings=settings,
                        data=data,
                        data_dir=data_dir,
                        threads=study.threads,
                        plugins=plugins,
                        allow_code=study.allow_code,
                    )
                    yield cell, variant


def _excluded(exclusions: Sequence[Exclusion], cell: Cell, seed: int, used: set[int]) -> bool:
    found = [index for index, each in enumerate(exclusions) if _fits(each, cell, seed)]
    used.update(found)
    return bool(found)


def _fits(exclusion: Exclusion, cell: Cell, seed: int) -> bool:
    asked = (
        (cell.model, exclusion.model),
        (cell.variant, exclusion.variant),
        (cell.settings_label, exclusion.settings),
        (cell.data, exclusion.data),
    )
    named = all(glob is None or fnmatch.fnmatchcase(name, glob) for name, glob in asked)
    return named and exclusion.seed in (None, seed)


def _listed(trial: Trial, baseline: str) -> dict[str, Any]:
    cell = trial.cell
    return {
        "id": trial.id,
        "variant": cell.variant,
        "model": cell.model,
        "recipe": cell.recipe["name"] if cell.recipe is not None else None,
        "settings": cell.settings_label,
        "data": cell.data,
        "seed": trial.seed,
        "group": cell.group,
        "baseline": cell.variant == baseline,
    }


def _notes(study: Study, cells: Sequence[Cell]) -> Iterator[str]:
    """Yield what users should know of a study that can be run."""
    first: dict[str, Cell] = {}
    for cell in cells:
        other = first.setdefault(cell.digest, cell)
        if other is not cell:
            yield f"{cell.variant} ({cell.group}) is the same as {other.variant} ({other.group}): run once"
    if pruned := list(dict.fromkeys(cell.variant for cell in cells if cell.keep)):
        yield (
            f"{', '.join(pruned)}: the blocks that are left are chosen by the loss on the validation images, which "
            "flatters the score on the same images; to find them takes a training with all blocks first"
        )
    groups = {cell.group for cell in cells}
    for group in sorted(groups - {cell.group for cell in cells if cell.variant == study.baseline}):
        yield f"{shown(study.baseline)} is left out for {group}: nothing to compare with there"
