"""Cells of a map whose size is symbolic: padded to whole cells, with a mask. The form of exported programs.

How many regions of equal cells a map has depends on its size, and a program for any size has no branch for
that. Here all cells are of one size; attention and pooling leave out the tokens that pad them. Results equal
those of eager blocks up to the order of sums.
"""

from __future__ import annotations

from typing import Any

import torch

from hmhsa_insert.torch_private import assume


def is_symbolic(height: int, width: int) -> bool:
    """Return True if a program is being exported that shall run at any height or width."""
    return torch.compiler.is_exporting() and not (type(height) is int and type(width) is int)


class PaddedCells:
    """The cells of N×H×W×C tokens, any of N, H and W symbolic; the methods are those of ``Cells``.

    Args:
        tokens: N×H×W×C.
        grid: side of one cell, in tokens; None: one cell is the whole map, without padding.

    Attributes:
        mask: for each cell and token, whether it is one of the map's; None if no cell is padded.
    """

    def __init__(self, tokens: torch.Tensor, grid: int | None) -> None:
        self.images, self.height, self.width = tokens.shape[:3]
        self.grid = grid or 1  # that of the whole map, the last step, is not used
        self.cell = (self.height, self.width) if grid is None else (grid, grid)
        self.rows, self.cols = 1, 1
        self.mask: torch.Tensor | None = None
        if grid is not None:
            self.rows, self.cols = _cells_along(self.height, grid), _cells_along(self.width, grid)
            self.mask = self._mask(tokens.device)

    def cut(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """Cut N×H×W×C tokens; return (N·cells)×(tokens of a cell)×C alone in a list."""
        if self.mask is not None:
            tokens = _lengthened(tokens, 1, self.rows * self.cell[0])
            tokens = _lengthened(tokens, 2, self.cols * self.cell[1])
        cells = torch.unflatten(tokens, 2, (self.cols, self.cell[1]))
        cells = torch.unflatten(cells, 1, (self.rows, self.cell[0]))
        return [cells.transpose(2, 3).flatten(3, 4).flatten(0, 2)]

    def join(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Undo :meth:`cut`; return N×H×W×C tokens."""
        cells = torch.unflatten(parts[0], 1, self.cell)
        cells = torch.unflatten(cells, 0, (self.images, self.rows, self.cols))
        tokens = cells.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        return tokens if self.mask is None else _first(_first(tokens, 1, self.height), 2, self.width)

    def pool(self, parts: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the maximum plus the mean of every cell's own tokens, (N·cells)×C alone in a list."""
        (part,) = parts
        own = part if self.mask is None else part.masked_fill(~self.mask.unsqueeze(2), -torch.inf)
        return [own.amax(1) + self.mean(part)]

    def mean(self, part: torch.Tensor) -> torch.Tensor:
        """Return the mean of every cell's own tokens, (N·cells)×C."""
        if self.mask is None:
            return part.mean(1)
        own = self.mask.unsqueeze(2)
        return part.masked_fill(~own, 0).sum(1) / own.to(part.dtype).sum(1)

    def gather(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Make a map of one token for each cell: from (N·cells)×C to N×rows×cols×C."""
        return torch.unflatten(parts[0], 0, (self.images, self.rows, self.cols))

    def spread(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """Undo :meth:`gather`, with a token axis of length 1 that broadcasts to every token of the cell."""
        return [tokens.flatten(0, 2).unsqueeze(1)]

    def _mask(self, device: torch.device) -> torch.Tensor:
        down = torch.arange(self.rows * self.cell[0], device=device) < self.height
        across = torch.arange(self.cols * self.cell[1], device=device) < self.width
        down = down.view(self.rows, 1, self.cell[0], 1)
        across = across.view(1, self.cols, 1, self.cell[1])
        own = (down & across).flatten(2).flatten(0, 1)
        return own.unsqueeze(0).expand(self.images, -1, -1).flatten(0, 1)


def _cells_along(length: int, side: int) -> int:
    """Return ⌈length/side⌉ as a number of which the exporter knows only that it is positive.

    Of the formula itself it would ask whether it is 1, and restrict the program to the answer.
    """
    cells: Any = torch.full((), (length + side - 1) // side, dtype=torch.int64).item()
    assume(cells >= 1)
    return cells  # type: ignore[no-any-return]


# By index, because a slice or a pad of symbolic length is compared with the axis, which the exporter cannot decide.


def _lengthened(tokens: torch.Tensor, axis: int, length: int) -> torch.Tensor:
    """Repeat the last tokens of an axis until it has this length."""
    index = torch.arange(length, device=tokens.device)
    return tokens.index_select(axis, index.clamp(max=tokens.shape[axis] - 1))


def _first(tokens: torch.Tensor, axis: int, length: int) -> torch.Tensor:
    return tokens.index_select(axis, torch.arange(length, device=tokens.device))
