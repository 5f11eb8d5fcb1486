"""The exceptions of training: settings, data, runs, and what can happen on the way; and several of them as one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hmhsa_insert.errors import HmhsaInsertError


class SettingsError(HmhsaInsertError):
    """Training settings cannot be read: their YAML, their keys or their values."""

    title = "the training settings cannot be used"


class DataError(HmhsaInsertError):
    """A data source is missing, unreadable, or does not fit the network."""

    title = "the data cannot be used"


class RunError(HmhsaInsertError):
    """A run folder is in use, holds another run, is damaged, or cannot be written."""

    title = "the run folder cannot be used"


class InUseError(RunError):
    """Another process has the run folder."""


class TrainingError(HmhsaInsertError):
    """Training stopped: the loss is not a number, or a part of the settings does not fit the network."""

    title = "training stopped"


class NetworkError(TrainingError):
    """A network does not run on the images of the data, or does not give what the task needs."""

    title = "the network does not fit the data"


class ScoresError(TrainingError):
    """A network gives no scores: they are not numbers, or no image could be read."""

    title = "the network cannot be scored"


class StartError(HmhsaInsertError):
    """A training cannot be begun, for reasons of several kinds: settings, recipe, network, weights, data, options."""

    title = "the training cannot be started"


class Problems:
    """Collects the errors of steps that do not need each other, so that one error lists the problems of all."""

    def __init__(self) -> None:
        self._errors: list[HmhsaInsertError] = []

    def __bool__(self) -> bool:
        return bool(self._errors)

    @contextmanager
    def part(self) -> Iterator[None]:
        """Keep the error that a step raises, and go on after it."""
        try:
            yield
        except HmhsaInsertError as error:
            self._errors.append(error)

    def raise_any(self) -> None:
        """Raise what was kept, if anything was.

        Raises:
            HmhsaInsertError: the one error, or one with the problems of all: of their class if they share it, else
                a :class:`StartError`.
        """
        if len(self._errors) == 1:
            raise self._errors[0]
        if self._errors:
            kinds = {type(error) for error in self._errors}
            problems = dict.fromkeys(problem for error in self._errors for problem in error.problems)
            raise (kinds.pop() if len(kinds) == 1 else StartError)(problems)


class Stopped(KeyboardInterrupt):
    """Training was asked to stop (Ctrl-C or SIGTERM) and saved its place first.

    Attributes:
        signal: the number of the signal; a command exits with 128 plus it.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
