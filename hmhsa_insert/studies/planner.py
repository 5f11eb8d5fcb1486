"""Plan the cells of a study: each network is built and each recipe resolved once, and who refuses what is noted."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import Any

from hmhsa_insert.errors import HmhsaInsertError, Problem
from hmhsa_insert.studies.cell import Cell, Costs, Refusal
from hmhsa_insert.studies.identity import digest_of, resolved_site, source_of
from hmhsa_insert.studies.prune import check_prunable, pruned_digest
from hmhsa_insert.studies.study_file import Study
from hmhsa_insert.studies.trial import planned_run
from hmhsa_insert.studies.variants import Variant
from hmhsa_insert.surgery.apply import apply_plan
from hmhsa_insert.surgery.base.fake import deep_copy
from hmhsa_insert.surgery.locate.stages import Located, locate
from hmhsa_insert.surgery.plan import plan_located
from hmhsa_insert.training.network import Base
from hmhsa_insert.training.task import Task


class Planner:
    """Plans the cells of a study, which share base networks and their maps.

    Attributes:
        costs: of the cells that were planned, by their digests.
        images: that one trial of each trains on, by its digest.
        data_notes: of each source of data.
    """

    def __init__(self, study: Study, problems: list[Problem]) -> None:
        self._study = study
        self._problems = problems
        self._networks: dict[Any, tuple[Base, Located] | None] = {}
        self._networks_costs: dict[Any, tuple[Any, Costs]] = {}
        self.costs: dict[str, Costs] = {}
        self.images: dict[str, int] = {}
        self.data_notes: dict[str, tuple[str, ...]] = {}
        self._refusals: list[tuple[Cell, HmhsaInsertError]] = []

    def plan(self, cell: Cell, variant: Variant) -> Cell | None:
        """Return the cell with its digest and cost; None if it cannot be planned, which is then a problem."""
        study = self._study
        try:
            run = planned_run(cell, seed=0)
        except HmhsaInsertError as error:
            self._note(study.where("data", study.data.index(cell.data)), "", error)
            return None
        self.data_notes[cell.data] = run.data.notes
        network = self._network(run, cell)
        if network is None:
            return None
        try:
            sites, cost = self._resolved(cell, variant, run, *network)
        except HmhsaInsertError as error:
            self._refusals.append((cell, error))
            return None
        source = source_of(run, network[0].model)
        digest = digest_of(run, source, sites, cell.threads)
        earlier = digest_of(run, source, sites, cell.threads, by_names=True)
        if variant.keep:  # which blocks are left, training says
            cell = replace(cell, keep=variant.keep, whole_digest=digest)
            digest = earlier = pruned_digest(digest, variant.keep)
            cost = dict.fromkeys(cost)
        self.costs[digest] = cost
        updates = int(run.config["data"]["train"]) // run.settings.batch_size
        updates = min(updates, run.settings.epoch_steps or updates)
        self.images[digest] = updates * run.settings.epochs * run.settings.batch_size
        return replace(
            cell,
            digest=digest,
            names_digest=earlier if earlier != digest else "",
            fingerprint=run.data.fingerprint,
            column=run.best,
            costs=cost,
        )

    def refused(self, taken: Set[str], left_out: Sequence[tuple[Cell, Variant]]) -> tuple[Refusal, ...]:
        """Return the recipes that some network refuses; one that no network takes becomes a problem.

        Args:
            taken: labels of variants that a network takes.
            left_out: what the study excludes: a recipe that is refused there is told as well.
        """
        for cell, error in self._refusals:
            if cell.variant not in taken:
                self._note(self._study.where("variants"), f"{cell.variant} on {cell.model}: ", error)
        found = [(cell, error) for cell, error in self._refusals if cell.variant in taken]
        for cell, variant in left_out:
            try:
                run = planned_run(cell, seed=0)
                network = self._networks.get((cell.model, run.network_key))
                if network is not None:  # else no trial is on it
                    self._resolved(cell, variant, run, *network)
            except HmhsaInsertError as error:
                found.append((cell, error))
        return tuple(
            Refusal(cell, "; ".join(problem.message for problem in error.problems)) for cell, error in found
        )

    def _network(self, run: Task, cell: Cell) -> tuple[Base, Located] | None:
        """Return the base network as the trials will build it, and its map."""
        key = (cell.model, run.network_key)
        if key not in self._networks:
            self._networks[key] = None
            try:
                # Its weights play no part: neither downloaded ones nor a checkpoint's are read here.
                base = run.base()
                self._networks[key] = (base, locate(base.model, base.size))
            except HmhsaInsertError as error:
                self._note(self._study.where("models", cell.model), f"{cell.model}: ", error)
        return self._networks[key]

    def _resolved(
        self, cell: Cell, variant: Variant, run: Task, base: Base, located: Located
    ) -> tuple[Any, Costs]:
        """Return what a variant's recipe comes to on a network, and what the network costs then."""
        key = (cell.variant, cell.model, run.network_key)
        if key not in self._networks_costs:
            edited, sites = deep_copy(base.model), None  # a detector is built around it in place
            if variant.recipe is not None:
                plan = plan_located(base.model, located, variant.recipe, [])
                if variant.keep:
                    check_prunable(plan.sites, variant.keep, run)
                sites = [resolved_site(site) for site in plan.sites]
                edited = apply_plan(base.model, plan)
            self._networks_costs[key] = (sites, run.costs(run.around(edited)))
        return self._networks_costs[key]

    def _note(self, where: str, what: str, error: HmhsaInsertError) -> None:
        """Note an error's problems: at their own place in a file, or at `where` if they have none."""
        for problem in error.problems:
            located = problem.where.count(":") >= 2 or problem.where.startswith("study")
            inner = f"{problem.where}: " if problem.where and not located else ""
            place = problem.where if located else where
            self._problems.append(Problem(place, f"{what}{inner}{problem.message}", problem.tip))
