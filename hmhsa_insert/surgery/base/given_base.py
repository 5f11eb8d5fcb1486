"""The factory that the user names for base networks, where folders may not name one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_GIVEN: ContextVar[str] = ContextVar("the factory of base networks", default="")


@contextmanager
def given_base(factory: str) -> Iterator[None]:
    """Build base networks that no library has with ``module:factory`` while the block runs."""
    before = _GIVEN.set(factory)
    try:
        yield
    finally:
        _GIVEN.reset(before)


def base_factory() -> str:
    """Return what the user named; empty if nothing."""
    return _GIVEN.get()
