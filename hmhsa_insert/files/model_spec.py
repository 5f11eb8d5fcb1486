"""What names a model: a library's name, a factory of the user's, a folder, or a model that was given in memory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# The prefixes of ``surgery/base/sources/table.py``, which imports torch.
LIBRARIES = ("timm", "torchvision", "ultralytics", "transformers", "smp")
# How a run's configuration names a model that was given in memory: its class, and a digest of its weights.
_IN_MEMORY = re.compile(r"[^\s/:]+ [0-9a-f]{16}\Z")


@dataclass(frozen=True)
class ModelSpec:
    """A model by the text that names it.

    Attributes:
        text: as the user, a run's configuration or a study has it.
    """

    text: str

    @property
    def is_code(self) -> bool:
        """True if building it imports and runs a module of that name: ``package.module:factory``."""
        return ":" in self.text and self.text.partition("/")[0] not in LIBRARIES

    @property
    def is_in_memory(self) -> bool:
        """True if it is not a name to build from, but what a run says of a model it was given."""
        return _IN_MEMORY.match(self.text) is not None

    @property
    def label(self) -> str:
        """A short name for tables and folders."""
        name = self.text.rpartition(":")[2] if self.is_code else self.text
        return Path(name).name
