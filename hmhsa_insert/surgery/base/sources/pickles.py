"""Whether this process may unpickle: a pickle runs whatever code its author put in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from hmhsa_insert.errors import ModelError, Problem

_ALLOWED: ContextVar[bool] = ContextVar("unpickling is allowed", default=False)


@contextmanager
def unpickling(allowed: bool) -> Iterator[None]:
    """Allow it, or not, while the block runs."""
    before = _ALLOWED.set(allowed)
    try:
        yield
    finally:
        _ALLOWED.reset(before)


def is_unpickling_allowed() -> bool:
    """Return True where the user allows it."""
    return _ALLOWED.get()


def check_allowed(spec: str) -> None:
    """Raise ModelError for the file that `spec` names, unless the user allows pickles."""
    if not is_unpickling_allowed():
        message = "this file is a pickle, and reading one runs any code that its author put in"
        tip = "if you trust it: `unsafe_pickle=True`"
        raise ModelError(Problem(spec, message, tip))
