"""A trial of a study, and what the trials of all seeds share: plain data, which goes to other machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hmhsa_insert.training.run_schema import RunSettings

Costs = Mapping[str, int | float | None]


@dataclass(frozen=True)
class Cell:
    """What all seeds of one variant, network, settings and data share. Plain data: it goes to other machines.

    Attributes:
        variant, model, settings_label: labels.
        spec: what names the base network.
        pretrained, init_from: what it begins with.
        recipe: as plain data, or None.
        task: what is learned.
        options: of the task.
        settings: of the training.
        data: the source.
        data_dir: where downloaded data is kept.
        threads: torch computes with so many.
        plugins: modules to import first.
        allow_code: whether code may run that a file names.
        digest: identity of everything but the seed.
        names_digest: the same as earlier versions knew it, if they knew it otherwise.
        fingerprint: of the data, as it was when the study was planned.
        column: of ``metrics.csv``: the score that is compared.
        costs: by the fields of quantities, for one image, as counted in planning; of a pruned one none is known then.
        keep: of a pruned one: how many of the recipe's blocks are left; 0: it is not pruned.
        whole_digest: of a pruned one: that of the cell with all blocks.
    """

    variant: str
    model: str
    settings_label: str
    spec: str
    pretrained: bool
    init_from: str | None
    recipe: Mapping[str, Any] | None
    task: str
    options: Mapping[str, str]
    settings: RunSettings
    data: str
    data_dir: str | None
    threads: int
    plugins: tuple[str, ...]
    allow_code: bool = False
    digest: str = ""
    names_digest: str = ""
    fingerprint: str = ""
    column: str = ""
    costs: Costs = field(default_factory=dict)
    keep: int = 0
    whole_digest: str = ""

    @property
    def group(self) -> str:
        """What its trials share with those that they are compared with."""
        return f"{self.model}, {self.settings_label}, {self.data}"


@dataclass(frozen=True)
class Refusal:
    """A recipe that a network refuses: nothing of it is trained.

    Attributes:
        cell: what would have been.
        reason: the network's, in one line.
    """

    cell: Cell
    reason: str


@dataclass(frozen=True)
class Trial:
    """One training of a study.

    Attributes:
        id: sixteen digits that two trials share if they are the same.
        cell: everything but the seed.
        seed: of base weights, blocks, order and draws.
    """

    id: str
    cell: Cell
    seed: int

    @property
    def name(self) -> str:
        """A name for people: variant, network, settings, data and seed."""
        return f"{self.cell.variant}, {self.cell.group}, seed {self.seed}"
