"""The exceptions of the package and the shape of one problem.

Every error a user can cause derives from :class:`HmhsaInsertError` and carries a list of :class:`Problem`, so that
all problems of one input are reported together: where it is, what was found, and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hmhsa_insert.inert import visible

# Of what was found, so much is quoted: a key may be as long as its file.
_LONGEST = 2000


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, in text that any terminal can show: names from files are made inert, and cut.

    Attributes:
        where: the place, as ``file:line:column``, a qualified module name, a path or an option.
        message: what was found there, in one sentence.
        tip: the nearest valid names, or the command that shows the choices; may be empty.
    """

    where: str
    message: str
    tip: str = ""

    def __post_init__(self) -> None:
        for name in ("where", "message", "tip"):
            object.__setattr__(self, name, _shown(getattr(self, name)))

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text} ({self.tip})" if self.tip else text


def _shown(text: str) -> str:
    cut = len(text) - _LONGEST
    return visible(text[:_LONGEST]) + (f"… and {cut:,} more characters" if cut > 0 else "")


class HmhsaInsertError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        problems: one message, one :class:`Problem`, or all problems of one input.
    """

    title = "this cannot be done"

    def __init__(self, problems: str | Problem | Iterable[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem("", problems)
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class RecipeError(HmhsaInsertError):
    """A recipe cannot be read: its YAML, its keys or its values."""

    title = "the recipe cannot be used"


class BlockError(HmhsaInsertError):
    """A block cannot be built with these options at this map."""

    title = "the block cannot be built"


class ModelError(HmhsaInsertError):
    """A model cannot be found, built, traced, or is wrapped in something that cannot be edited."""

    title = "the model cannot be used"


class PlanError(HmhsaInsertError):
    """A recipe does not fit a model; holds every refusal of the plan."""

    title = "the plan was refused"


class VerifyError(HmhsaInsertError):
    """A spliced model did not pass a check."""

    title = "verification failed"


class WeightsError(HmhsaInsertError):
    """A weights file cannot be read or does not fit the model."""

    title = "the weights cannot be loaded"


class ArtifactError(HmhsaInsertError):
    """An artifact folder cannot be written or read."""

    title = "the artifact cannot be read or written"


class BaseNotBuiltError(ArtifactError):
    """A folder does not say how its base network is built, or may not say it; commands add how they can be told."""


def within(file: Path | str, error: HmhsaInsertError) -> list[Problem]:
    """Return an error's problems with the file that they are in before their own places; options keep theirs."""
    return [
        problem
        if problem.where.startswith("--")
        else Problem(f"{file}: {problem.where}".rstrip(": "), problem.message, problem.tip)
        for problem in error.problems
    ]


def near(name: str, choices: Iterable[str], most: int = 3) -> str:
    """Return ``"did you mean 'a' or 'b'?"`` with the closest of `choices`, or an empty string."""
    close = difflib.get_close_matches(name, list(choices), n=most, cutoff=0.5)
    return f"did you mean {listed(close)}?" if close else ""


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says; what kind of error it is, where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def listed(names: Sequence[str]) -> str:
    """Return the names quoted and joined: ``'a', 'b' or 'c'``."""
    quoted = [f"'{name}'" for name in names]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else "".join(quoted)
