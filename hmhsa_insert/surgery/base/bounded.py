"""A bound on how many modules a factory registers: a few characters in a file can ask for millions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook


class TooManyModules(Exception):
    """More modules were registered than the bound allows."""


@contextmanager
def at_most(modules: int) -> Iterator[None]:
    """Raise TooManyModules inside the ``with`` when one more than so many modules is registered."""
    left = modules

    def count(parent: nn.Module, name: str, child: nn.Module | None) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise TooManyModules(f"it has more than {modules:,} modules")

    hook = register_module_module_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
