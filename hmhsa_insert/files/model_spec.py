"""What names a model: a library's name, a factory of the user's, a folder, or a model that was given in memory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# The prefixes of ``surgery/base/sources/table.py``, which imports torch.
LIBRARIES = ("timm", "torchvision", "ultralytics", "transformers", "smp")
_HUB = "hf-hub"
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
    def is_on_hub(self) -> bool:
        """True if it is ``hf-hub:USER/NAME``; no module is called that."""
        return self.text.startswith(f"{_HUB}:")

    @property
    def prefix(self) -> str:
        """What names the library, if there is one of this name."""
        return _HUB if self.is_on_hub else self.text.partition("/")[0]

    @property
    def bare(self) -> str:
        """What follows the prefix; empty where nothing does."""
        return self.text[len(self.prefix) + 1 :]

    @property
    def is_code(self) -> bool:
        """True if building it imports and runs a module of that name: ``package.module:factory``."""
        return ":" in self.text and self.prefix not in (*LIBRARIES, _HUB)

    @property
    def is_in_memory(self) -> bool:
        """True if it is not a name to build from, but what a run says of a model it was given."""
        return _IN_MEMORY.match(self.text) is not None

    @property
    def label(self) -> str:
        """A short name for tables and folders."""
        name = self.text.rpartition(":")[2] if self.is_code else self.text
        return Path(name).name
