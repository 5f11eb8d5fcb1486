"""The exceptions of training: settings, data, runs, and what can happen on the way."""

from __future__ import annotations

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


class StartError(HmhsaInsertError):
    """A training cannot be begun, for reasons of several kinds: settings, recipe, network, weights, data, options."""

    title = "the training cannot be started"


class Stopped(KeyboardInterrupt):
    """Training was asked to stop (Ctrl-C or SIGTERM) and saved its place first.

    Attributes:
        signal: the number of the signal; a command exits with 128 plus it.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
