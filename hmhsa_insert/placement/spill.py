"""Tensors kept in memory up to a limit, and in files beyond it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType

import torch


class Store:
    """Keeps copies of tensors: on the CPU while they fit, then in files that the system pages in when they are read.

    Args:
        limit: bytes that may be kept in memory.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files = 0
        self.spilled = 0

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a copy in float32, contiguous, on the CPU or in a file."""
        copied = tensor.detach().to("cpu", torch.float32).contiguous()
        size = copied.numel() * copied.element_size()
        if size <= self._left:
            self._left -= size
            return copied.clone() if copied.data_ptr() == tensor.data_ptr() else copied
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="hmhsa-insert-")
        self._files += 1
        self.spilled += size
        file = Path(self._folder.name, str(self._files))
        kept = torch.from_file(str(file), shared=True, size=copied.numel(), dtype=torch.float32)
        return kept.copy_(copied.reshape(-1)).reshape(copied.shape)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()
