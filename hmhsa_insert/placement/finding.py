"""What a pre-test of placements found: the data, its tables, and the sentence that it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmhsa_insert.drawing.draw import Drawing
from hmhsa_insert.errors import HmhsaInsertError
from hmhsa_insert.files.numbers import big
from hmhsa_insert.files.whole import write_text
from hmhsa_insert.inert import json_text
from hmhsa_insert.placement.prior import Scored
from hmhsa_insert.placement.race import Lead
from hmhsa_insert.printed import Printed
from hmhsa_insert.recipe import Recipe
from hmhsa_insert.tables import Cell, Table, left, right

if TYPE_CHECKING:
    import pandas as pd

FOUND, DRAWN = "placement.json", "placement.svg"
_RISK = 0.05
# Recipes to look at where nothing was raced.
_BY_PRIOR = 3
_ORDINALS = ("first", "second", "third", "fourth")


@dataclass(frozen=True)
class Raced:
    """A candidate that was raced.

    Attributes:
        scored: what the prior says of it.
        lead: over the plain network; None after too few updates.
        p: of a lead like this between networks that are the same, corrected for the number of entrants; None where it
            is not known.
    """

    scored: Scored
    lead: Lead | None
    p: float | None

    @property
    def measurable(self) -> bool:
        """True if the lead is more than trainings of the same network come apart by."""
        return self.lead is not None and self.lead.mean > 0 and self.p is not None and self.p < _RISK


@dataclass(frozen=True, repr=False)
class Finding(Printed):
    """What a pre-test of placements found.

    Attributes:
        scored: every block, by the prior, the largest gain first.
        raced: those that were raced, the largest lead first.
        apart: standard deviation of the leads of networks to which nothing was added that could help; None without a
            race.
        updates: of one entrant; 0 without a race.
        share: of the optimizer steps of a whole training.
        refused: blocks that the network does not take, by name, and why.
        folder: of the runs of the race, and of what :meth:`save` writes.
        drawing: of the network, with what was found of each block at its place; a notebook shows it.
    """

    scored: tuple[Scored, ...]
    raced: tuple[Raced, ...] = ()
    apart: float | None = None
    updates: int = 0
    share: float = 0.0
    refused: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    drawing: Drawing | None = field(default=None, compare=False)

    @property
    def best(self) -> tuple[Raced, ...]:
        """Those that have a measurable lead, the largest first."""
        return tuple(each for each in self.raced if each.measurable)

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """Those of :attr:`best`, ready to apply; without a race, of the first by the prior."""
        chosen = [each.scored for each in self.best] if self.raced else self.scored[:_BY_PRIOR]
        return tuple(each.candidate.recipe for each in chosen)

    @property
    def verdict(self) -> str:
        """What it comes to, in a sentence: a prior or a hint, never a promise."""
        if not self.scored:
            return "no block fits this network"
        if not self.raced:
            order = ", ".join(each.candidate.name for each in self.scored[:3])
            return f"by the prior alone: {order}; nothing was trained"
        if not self.best:
            return f"no measurable gain in {self.updates} optimizer steps"
        pairs = zip(_ORDINALS, self.best, strict=False)
        order = ", ".join(f"{place} {each.scored.candidate.name}" for place, each in pairs)
        return f"{order}, in {self.updates} optimizer steps of training loss; `ablate` settles it"

    def tables(self) -> Sequence[Table]:
        """Return the verdict, the race and the prior."""
        found = [Table(self.verdict, (), (), tuple(f"{name}: {why}" for name, why in self.refused.items()))]
        if self.raced:
            found.append(self._race())
        return [*found, self._prior()]

    def _race(self) -> Table:
        noise = "" if self.apart is None else f"{self.apart:.4f}"
        rows: list[list[Cell]] = []
        for each in self.raced:
            mean = "" if each.lead is None else f"{each.lead.mean:+.4f}"
            p = "" if each.p is None else f"{each.p:.3f}"
            rows.append([each.scored.candidate.name, mean, p, "yes" if each.measurable else "no"])
        headers = [left("block@stage"), right("loss below plain"), right("p"), right("measurable")]
        notes = (
            "loss below plain: mean training loss of the plain network less the block's, over the last half of the "
            "same optimizer steps",
            f"p: of such a lead between networks that do not differ, whose leads have a standard deviation of {noise}; "
            "corrected for the number of blocks",
        )
        title = f"race: {self.share:.0%} of the optimizer steps of a training ({self.updates})"
        return Table.of(title, headers, rows, notes)

    def _prior(self) -> Table:
        by_size = sorted(self.scored, key=lambda each: -each.candidate.num_params)
        headers = [
            left("block@stage"),
            *map(right, ("params", "MACs", "cosine", "gain", "placebo", "by params")),
        ]
        rows: list[list[Cell]] = [
            [
                each.candidate.name,
                big(each.candidate.num_params),
                big(each.candidate.macs),
                f"{each.own.cosine:.3f}",
                f"{each.own.gain:.5f}",
                "" if each.placebo is None else f"{each.placebo.gain:.5f}",
                by_size.index(each) + 1,
            ]
            for each in self.scored
        ]
        notes = (
            "gain: how far the block, trained alone for some steps, points down the loss's gradient on batches that it "
            "was not trained on; placebo: the same of a block of equal parameters that mixes no positions",
            "by params: the rank by the number of parameters alone, which predicts well too; in a prior, neither says "
            "whether insertion helps",
        )
        return Table.of("prior", headers, rows, notes)

    def _repr_html_(self) -> str:
        return super()._repr_html_() + (self.drawing.svg if self.drawing is not None else "")

    def to_frame(self) -> pd.DataFrame:
        """Return a row per block, by the prior, the largest gain first; ``lead`` and ``p`` are of those raced.

        Columns: ``name``, ``stage``, ``num_params``, ``macs``, ``cosine``, ``gain``, ``placebo_gain``, ``lead``, ``p``,
        ``measurable``.
        """
        import pandas as pd  # what prints a finding does without

        raced = {each["name"]: each for each in self._raced()}
        rows = [each | raced.get(each["name"], {}) for each in self._scored()]
        columns = [*self._scored()[0], "lead", "p", "measurable"] if rows else []
        return pd.DataFrame(rows, columns=columns).astype({"measurable": "boolean"} if rows else {})

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for programs."""
        return {
            "kind": "placement",
            "verdict": self.verdict,
            "updates": self.updates,
            "share": self.share,
            "apart": self.apart,
            "race": self._raced(),
            "prior": self._scored(),
            "refused": dict(self.refused),
        }

    def save(self) -> None:
        """Write what was found, and the recipes, beside the runs of the race.

        Raises:
            HmhsaInsertError: they cannot be written.
        """
        assert self.folder is not None
        write_text(self.folder / FOUND, json_text(self.to_dict(), indent=2), HmhsaInsertError)
        if self.drawing is not None:
            self.drawing.save(self.folder / DRAWN)
        for recipe in self.recipes:
            write_text(self.folder / f"{recipe.name}.yaml", recipe.dump(), HmhsaInsertError)

    def _raced(self) -> list[dict[str, Any]]:
        return [
            {
                "name": each.scored.candidate.name,
                "lead": None if each.lead is None else each.lead.mean,
                "p": each.p,
                "measurable": each.measurable,
            }
            for each in self.raced
        ]

    def _scored(self) -> list[dict[str, Any]]:
        return [
            {
                "name": each.candidate.name,
                "stage": each.candidate.stage,
                "num_params": each.candidate.num_params,
                "macs": each.candidate.macs,
                "cosine": each.own.cosine,
                "gain": each.own.gain,
                "placebo_gain": None if each.placebo is None else each.placebo.gain,
            }
            for each in self.scored
        ]
