"""Cut a map into cells: a square grid from the top left, with exact edges.

If the side of a cell does not divide the map, the cells at the right and bottom edge are smaller. They are
not padded: the map consists of at most four regions of equal cells (interior, right, bottom, corner), and
each region is cut as a dense tensor, so that no token is invented, masked or dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hmhsa_insert.blocks.padded import PaddedCells, is_symbolic
from hmhsa_insert.blocks.types.costs import spans


@dataclass(frozen=True)
class Region:
    """A rectangle of equal cells.

    Attributes:
        row: index of its first row of cells in the whole map.
        col: index of its first column of cells in the whole map.
        rows: number of rows of cells.
        cols: number of columns of cells.
        height: height of one cell, in tokens.
        width: width of one cell, in tokens.
    """

    row: int
    col: int
    rows: int
    cols: int
    height: int
    width: int


class Cells:
    """The cells of an H×W map; if the grid is larger than the map, one cell is the whole map.

    Args:
        height: H, in tokens.
        width: W, in tokens.
        grid: side of one cell, in tokens.

    Attributes:
        height, width: H and W.
        rows: ⌈H/grid⌉.
        cols: ⌈W/grid⌉.
        regions: one to four, row by row.
        mask: None: all tokens are the map's. Those of a padded partition say which ones are.
    """

    mask: torch.Tensor | None = None

    def __init__(self, height: int, width: int, grid: int) -> None:
        down, across = spans(height, grid), spans(width, grid)
        self.height = height
        self.width = width
        self.grid = grid
        self.rows = sum(count for _, count, _ in down)
        self.cols = sum(count for _, count, _ in across)
        self.regions = [
            Region(row, col, rows, cols, cell_height, cell_width)
            for row, rows, cell_height in down
            for col, cols, cell_width in across
        ]

    def cut(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """Cut N×H×W×C tokens; return for each region (N·cells)×(tokens of a cell)×C, contiguous."""
        return [self._cut(tokens, region) for region in self.regions]

    def _cut(self, tokens: torch.Tensor, region: Region) -> torch.Tensor:
        # Row and column of a cell next to each other, then row and column in it: each cell's tokens are one
        # run.
        return _for_any_batch(self._view(tokens, region).transpose(2, 3)).flatten(3, 4).flatten(0, 2)

    def _view(self, tokens: torch.Tensor, region: Region) -> torch.Tensor:
        """View one region of N×H×W×C tokens as N × rows × tokens down × cols × tokens across × C."""
        top, left = region.row * self.grid, region.col * self.grid
        height, width = region.rows * region.height, region.cols * region.width
        part = tokens[:, top : top + height, left : left + width]
        part = torch.unflatten(part, 2, (region.cols, region.width))
        return torch.unflatten(part, 1, (region.rows, region.height))

    def join(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Undo :meth:`cut`; return N×H×W×C tokens."""
        pairs = list(zip(parts, self.regions, strict=True))
        if len(pairs) == 1 or torch.is_grad_enabled() or torch.compiler.is_exporting():
            return self._assemble(
                [_uncut(part, region).flatten(3, 4).flatten(1, 2) for part, region in pairs]
            )
        # One copy instead of three; backward through such writes would copy the whole map for every region, and
        # torch.export specializes the batch for them.
        first = self.regions[0]
        images = parts[0].shape[0] // (first.rows * first.cols)
        joined = parts[0].new_empty(images, self.height, self.width, parts[0].shape[-1])
        for part, region in pairs:
            self._view(joined, region).copy_(_uncut(part, region))
        return joined

    def pool(self, parts: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the maximum plus the mean of every cell's tokens: for each region (N·cells)×C."""
        return [part.amax(1) + part.mean(1) for part in parts]

    def gather(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Make a map of one token for each cell: from (N·cells)×C for each region to N×rows×cols×C."""
        pairs = zip(parts, self.regions, strict=True)
        return self._assemble(
            [torch.unflatten(part, 0, (-1, region.rows, region.cols)) for part, region in pairs]
        )

    def spread(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """Undo :meth:`gather`, with a token axis of length 1 that broadcasts to every token of the cell."""
        return [
            _for_any_batch(tokens[:, r.row : r.row + r.rows, r.col : r.col + r.cols])
            .flatten(0, 2)
            .unsqueeze(1)
            for r in self.regions
        ]

    def _assemble(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Put the regions' N×h×w×C maps side by side."""
        across = len({region.col for region in self.regions})
        bands = [maps[start : start + across] for start in range(0, len(maps), across)]
        joined = [band[0] if across == 1 else torch.cat(band, dim=2) for band in bands]
        return joined[0] if len(joined) == 1 else torch.cat(joined, dim=1)


def _for_any_batch(cells: torch.Tensor) -> torch.Tensor:
    """Return `cells`, as a contiguous copy under export: flattening a view makes the exporter guard on a batch of 1."""
    return cells.clone(memory_format=torch.contiguous_format) if torch.compiler.is_exporting() else cells


def cells_of(tokens: torch.Tensor, grid: int | None) -> Cells | PaddedCells:
    """Return the partition of N×H×W×C tokens into cells of side `grid`; None: one cell is the whole map.

    A program that is exported for any size gets the padded one.
    """
    height, width = tokens.shape[1:3]
    if is_symbolic(height, width):
        return PaddedCells(tokens, grid)
    return Cells(height, width, max(height, width) if grid is None else grid)


def flatten_cells(parts: list[torch.Tensor]) -> torch.Tensor:
    """Concatenate the tokens of all regions, T×C, so that one projection runs on them all."""
    flat = [part.flatten(0, 1) for part in parts]
    return flat[0] if len(flat) == 1 else torch.cat(flat)


def split_cells(flat: torch.Tensor, like: list[torch.Tensor]) -> list[torch.Tensor]:
    """Undo :func:`flatten_cells` with views: T×D to cells × tokens × D for each region of `like`."""
    sizes = [part.shape[0] * part.shape[1] for part in like]
    pieces = torch.split_with_sizes(flat, sizes) if len(like) > 1 else (flat,)
    return [torch.unflatten(piece, 0, part.shape[:2]) for piece, part in zip(pieces, like, strict=True)]


def _uncut(part: torch.Tensor, region: Region) -> torch.Tensor:
    """View one region's cells as N × rows × tokens down × cols × tokens across × C."""
    cells = torch.unflatten(part, 1, (region.height, region.width))
    cells = torch.unflatten(cells, 0, (-1, region.rows, region.cols))
    return cells.transpose(2, 3)
