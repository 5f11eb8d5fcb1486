"""The candidates: each block, and its placebo, at the end of each stage, as far as the network takes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from hmhsa_insert.errors import HmhsaInsertError, PlanError, Problem
from hmhsa_insert.recipe import Recipe, load_recipe
from hmhsa_insert.surgery.locate.stages import Located
from hmhsa_insert.surgery.proof.probe import Expressions
from hmhsa_insert.surgery.proof.rehearse import Settling
from hmhsa_insert.surgery.sites.resolve import resolve
from hmhsa_insert.surgery.sites.select import Refusals
from hmhsa_insert.surgery.sites.site import Site

PLACEBO = "placebo"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._+]+")


@dataclass(frozen=True)
class Candidate:
    """A block at the end of one stage.

    Attributes:
        name: for tables and files, such as ``hmhsa@3``.
        stage: the number of the stage.
        recipe: inserts it, as the identity.
        site: where it goes in the network, with its cost.
        control_of: the name of the candidate whose placebo this is; empty for the blocks that were asked for.
    """

    name: str
    stage: int
    recipe: Recipe
    site: Site
    control_of: str = ""

    @property
    def num_params(self) -> int:
        """Parameters of the block."""
        return self.site.num_params

    @property
    def macs(self) -> int:
        """Multiply–accumulates of the block for one image."""
        return self.site.macs


@dataclass(frozen=True)
class Candidates:
    """What can be tried on a network.

    Attributes:
        all: blocks, each followed by its placebo.
        refused: what the network does not take, by name, and why.
    """

    all: tuple[Candidate, ...]
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def blocks(self) -> tuple[Candidate, ...]:
        """Those that were asked for, without their placebos."""
        return tuple(each for each in self.all if not each.control_of)


def find_candidates(model: nn.Module, located: Located, blocks: Sequence[Mapping[str, Any]]) -> Candidates:
    """Return each block of `blocks`, and its placebo, at the end of each stage of a network.

    Sites and costs are resolved as a plan resolves them; the rehearsal that a plan adds is left to what is trained.

    Args:
        model: the network that was located.
        located: its stages.
        blocks: blocks as a recipe writes them, such as ``{"type": "hmhsa", "head_dim": 32}``.
    """
    made: list[Candidate] = []
    refused: dict[str, str] = {}
    expressions = Expressions(located.trace, model)
    for label, block in _labels(blocks):
        for stage in located.stages:
            if stage.index is None or stage.index < 1:
                continue
            name = f"{label}@{stage.index}"
            placebo = {"type": PLACEBO, "of": dict(block)}
            try:
                for own, spec, control_of in ((name, block, ""), (f"{name} {PLACEBO}", placebo, name)):
                    recipe = _recipe(own, stage.index, spec)
                    site = _only_site(model, located, recipe, expressions)
                    made.append(Candidate(own, stage.index, recipe, site, control_of))
            except HmhsaInsertError as error:
                refused[own] = error.problems[0].message
    return Candidates(tuple(made), refused)


def recording_recipe(stages: Iterable[int]) -> dict[str, Any]:
    """Return a recipe that inserts a light block as the identity at the end of each stage; its ids are ``at1``, …"""
    edits = [
        {
            "op": "insert",
            "id": f"at{stage}",
            "at": {"stage": stage, "block": "last"},
            "block": {"type": "timm/eca"},
            "init": "identity",
        }
        for stage in sorted(set(stages))
    ]
    return {"version": 1, "name": "recording", "edits": edits}


def _recipe(name: str, stage: int, block: Mapping[str, Any]) -> Recipe:
    edit = {
        "op": "insert",
        "id": str(block["type"]).replace("/", "_"),
        "at": {"stage": stage, "block": "last"},
        "block": dict(block),
        "init": "identity",
    }
    file_name = _NOT_IN_NAMES.sub("-", name.replace("@", "-s")).strip("-")
    return load_recipe({"version": 1, "name": file_name, "edits": [edit]})


def _only_site(model: nn.Module, located: Located, recipe: Recipe, expressions: Expressions) -> Site:
    refusals = Refusals(recipe, [])
    settling = Settling(model, located, recipe, expressions)
    sites = list(resolve(located, model, recipe.edits[0], settling.first, refusals))
    if refusals.problems:
        raise PlanError(refusals.problems)
    if len(sites) != 1:
        raise PlanError(Problem(recipe.name, f"the end of the stage is {len(sites)} maps, not one"))
    return sites[0]


def _labels(blocks: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return blocks by their types, those of one type with what distinguishes them."""
    types = [str(block.get("type")) for block in blocks]
    labelled = []
    for kind, block in zip(types, blocks, strict=True):
        options = ",".join(f"{key}={value}" for key, value in block.items() if key != "type")
        labelled.append((f"{kind}[{options}]" if types.count(kind) > 1 and options else kind, block))
    return labelled
