"""What a budget allows, as data, as a table and as recipes with their intent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hmhsa_insert.files.numbers import big
from hmhsa_insert.printed import Printed
from hmhsa_insert.recipe import Recipe
from hmhsa_insert.tables import Cell, Table, left, right

# What the file of a suggestion begins with.
INTENT = "# Suggested for"


@dataclass(frozen=True)
class Cost:
    """What a network costs: parameters, multiply–accumulates and saved bytes of one image (None: not asked for)."""

    num_params: int
    macs: int
    saved_bytes: float | None = None


@dataclass(frozen=True)
class CostLimits:
    """The most that the edited network may cost; None is no limit."""

    num_params: float | None = None
    macs: float | None = None
    saved_bytes: float | None = None


@dataclass(frozen=True)
class TimeRatio:
    """How long a step takes against the network's own: the median over rounds in turns, and their p10 and p90."""

    mode: str
    ratio: float
    p10: float
    p90: float

    def __str__(self) -> str:
        return f"{self.ratio:.2f} times as long in {self.mode} ({self.p10:.2f} to {self.p90:.2f})"


@dataclass(frozen=True)
class Suggestion:
    """One recipe and what it makes of the network.

    Attributes:
        recipe: ready to apply: ``hi.apply`` takes it.
        num_blocks: blocks it puts in.
        channels: channels these work on, all blocks together.
        cost: of the whole edited network.
        times: its steps against the network's own, where they were timed.
    """

    recipe: Recipe
    num_blocks: int
    channels: int
    cost: Cost
    times: tuple[TimeRatio, ...] = ()

    @property
    def slowest(self) -> float:
        """The largest of its ratios of time."""
        return max((each.ratio for each in self.times), default=1.0)

    def text(self, base: Cost, network: str) -> str:
        """Return the recipe as a file that begins with what it is for.

        Args:
            base: what the network costs as it is.
            network: what it is called.
        """
        plural = "s" if self.num_blocks > 1 else ""
        intent = f"{INTENT} {network}: {self.num_blocks} block{plural} on {self.channels} channels in all."
        measured = (
            f"# Measured where it was suggested: {', '.join(map(str, self.times))}.\n" if self.times else ""
        )
        return f"{intent}\n#\n# Predicted: {', '.join(self.changes(base))}.\n{measured}{self.recipe.dump()}"

    def changes(self, base: Cost) -> list[str]:
        """Return what the edited network costs in words, with the change from `base`."""
        cost = self.cost
        pairs = [("parameters", cost.num_params, base.num_params), ("MACs", cost.macs, base.macs)]
        changes = [f"{big(after)} {what} ({after / before - 1:+.2%})" for what, after, before in pairs]
        if cost.saved_bytes is not None and base.saved_bytes:
            share = cost.saved_bytes / base.saved_bytes - 1
            changes.append(f"{cost.saved_bytes / 2**20:.1f} MiB saved for backward ({share:+.2%})")
        return changes


@dataclass(frozen=True, repr=False)
class Suggestions(Printed):
    """What a budget allows.

    Attributes:
        base: what the network costs as it is.
        found: the Pareto set, cheapest first.
        tried: how many recipes were resolved.
        cheapest: the one of the fewest multiply–accumulates, within the budget or not; None if no recipe fits at all.
        network: the network and its input, in words.
        fastest: of those that were timed; None if none was.
    """

    base: Cost
    found: tuple[Suggestion, ...]
    tried: int
    cheapest: Suggestion | None
    network: str = ""
    fastest: Suggestion | None = None

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Suggestion]:
        return iter(self.found)

    def __getitem__(self, place: int) -> Suggestion:
        return self.found[place]

    @property
    def widest(self) -> Suggestion | None:
        """The one on the most channels, the cheapest of equals; None if nothing was found."""
        return max(self.found, key=lambda each: (each.channels, -each.cost.macs), default=None)

    @property
    def why_none(self) -> tuple[str, str]:
        """What to say where nothing was found, and what would come nearest."""
        if self.cheapest is None:
            return "no recipe fits this network", ""
        if self.fastest is not None:
            nearest = f"the nearest is {self.fastest.recipe.name}, {', '.join(map(str, self.fastest.times))}"
            return "no recipe within the counted limits keeps to the time", nearest
        near = f"{self.cheapest.recipe.name}, with {', '.join(self.cheapest.changes(self.base))}"
        return f"none of {self.tried} recipes is within the limits", f"the one of the fewest MACs is {near}"

    def tables(self) -> Sequence[Table]:
        """Return one row per recipe: blocks, channels, and what the edited network costs."""
        base = self.base
        headers = [left("recipe"), *map(right, ("blocks", "channels", "MACs", "Δ MACs", "Δ params"))]
        headers += [right("Δ memory")] if base.saved_bytes else []
        headers += [right(f"time, {each.mode}") for each in (self.found[0].times if self.found else ())]
        title = f"{self.network}: {len(self.found)} of {self.tried} recipes".lstrip(": ")
        notes = () if self.found else tuple(filter(None, self.why_none))
        return [Table.of(title, headers, [_row(each, base) for each in self.found], notes)]


def _row(each: Suggestion, base: Cost) -> list[Cell]:
    cost = each.cost
    pairs: list[tuple[float, float]] = [(cost.macs, base.macs), (cost.num_params, base.num_params)]
    if cost.saved_bytes is not None and base.saved_bytes:
        pairs.append((cost.saved_bytes, base.saved_bytes))
    shares = (f"{after / before - 1:+.1%}" for after, before in pairs)
    times = (f"×{time.ratio:.2f}" for time in each.times)
    return [each.recipe.name, str(each.num_blocks), str(each.channels), big(cost.macs), *shares, *times]
