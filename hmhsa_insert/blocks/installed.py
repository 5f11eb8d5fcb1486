"""Blocks of installed packages: entry points of the group ``hmhsa_insert.blocks``, loaded when they are used.

A package publishes a class for :func:`~hmhsa_insert.blocks.registered.register_block` or a ``BlockType``::

    [project.entry-points."hmhsa_insert.blocks"]
    my_gate = "my_package.gates:Gate"

Which packages are installed is the user's choice; no file names one, and one that fails to load is an error where its
block is used, nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from hmhsa_insert.blocks.base import BlockType
from hmhsa_insert.blocks.from_class import block_of
from hmhsa_insert.errors import BlockError, Problem, first_line

GROUP = "hmhsa_insert.blocks"


@dataclass(frozen=True)
class InstalledBlock:
    """A block type that an installed package publishes.

    Attributes:
        name: what recipes write as ``type``.
        package: its name and version.
        entry: what loads it.
    """

    name: str
    package: str
    entry: EntryPoint

    def load(self) -> BlockType:
        """Import the package and return the block type.

        Raises:
            BlockError: it cannot be imported, or is no block.
        """
        try:
            found = self.entry.load()
            block = found if isinstance(found, BlockType) else block_of(found, self.name)
            if block.name != self.name:
                raise BlockError(f"its name is '{block.name}'")
        except (Exception, SystemExit) as error:
            reason = (
                first_line(error) if isinstance(error, BlockError) else f"{type(error).__name__}: {error}"
            )
            message = f"the block '{self.name}' of the package {self.package} cannot be loaded: {reason}"
            raise BlockError(Problem("type", message, f"it is published as {self.entry.value}")) from error
        return block


@cache
def installed_blocks() -> tuple[InstalledBlock, ...]:
    """Return what the installed packages publish, by name; nothing is imported."""
    found = []
    for entry in entry_points(group=GROUP):
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "(unknown)"
        found.append(InstalledBlock(entry.name, package, entry))
    return tuple(sorted(found, key=lambda each: (each.name, each.package)))


@cache
def installed_block(name: str) -> BlockType | None:
    """Return the block type that a package publishes under `name`; None if none does.

    Raises:
        BlockError: two packages do, or the one cannot be loaded.
    """
    found = [each for each in installed_blocks() if each.name == name]
    if len(found) > 1:
        message = f"the packages {' and '.join(each.package for each in found)} both publish a block '{name}'"
        raise BlockError(Problem("type", message, "uninstall one of them"))
    return found[0].load() if found else None
