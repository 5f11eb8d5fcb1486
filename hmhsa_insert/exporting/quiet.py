"""Keep what exporters print, warn and log from the user's terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any


class _Swallowed(io.StringIO):
    """A place for prints. A progress line of rich, which finds its terminal by this name, still gets through."""

    def __init__(self, terminal: Any) -> None:
        super().__init__()
        self.rich_proxied_file = getattr(terminal, "rich_proxied_file", terminal)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop prints, warnings and log records inside the ``with``."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(_Swallowed(sys.stdout)),
            contextlib.redirect_stderr(_Swallowed(sys.stderr)),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
