import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain import cells_of
from torch._subclasses.fake_tensor import FakeTensorMode

from hmhsa_insert.blocks import tokens
from hmhsa_insert.blocks.partition import Cells, flatten_cells, split_cells
from hmhsa_insert.blocks.types.costs import attention_pairs

MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIDES = st.integers(1, 20)


@MANY
@given(height=SIDES, width=SIDES, grid=st.integers(1, 24))
def test_cut_holds_every_cell_once_and_join_undoes_it(height, width, grid):
    # Each token is its own number, so that a cell can be recognized.
    image = torch.arange(2 * height * width).reshape(2, height, width, 1)
    cells = Cells(height, width, grid)
    parts = cells.cut(image)
    found = {tuple(cell.flatten().tolist()) for part in parts for cell in part}
    expected = {
        tuple(one[r, c].flatten().tolist()) for one in image for r, c in cells_of(height, width, grid)
    }
    assert found == expected
    assert sum(part.shape[0] for part in parts) == len(expected) == 2 * cells.rows * cells.cols
    assert len(parts) <= 4
    assert torch.equal(cells.join(parts), image)
    assert attention_pairs(height, width, grid) * 2 == sum(len(cell) ** 2 for cell in expected)


@MANY
@given(height=SIDES, width=SIDES, grid=st.integers(1, 24))
def test_gather_and_spread_keep_the_place_of_a_cell(height, width, grid):
    image = torch.arange(2 * height * width).reshape(2, height, width, 1)
    cells = Cells(height, width, grid)
    # The first token of a cell stands for it.
    gathered = cells.gather([part[:, 0] for part in cells.cut(image)])
    assert torch.equal(gathered, image[:, ::grid, ::grid])
    spread = [
        above.expand_as(part) for above, part in zip(cells.spread(gathered), cells.cut(image), strict=True)
    ]
    expected = image[:, ::grid, ::grid].repeat_interleave(grid, 1).repeat_interleave(grid, 2)
    assert torch.equal(cells.join(spread), expected[:, :height, :width])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 8), (8, 9), (9, 9)])
def test_split_undoes_flatten_without_copying(height, width):
    parts = Cells(height, width, 4).cut(torch.randn(2, height, width, 3))
    flat = flatten_cells(parts)
    assert flat.shape == (2 * height * width, 3)
    for piece, part in zip(split_cells(flat, parts), parts, strict=True):
        assert torch.equal(piece, part)
        assert piece.untyped_storage().data_ptr() == flat.untyped_storage().data_ptr()


@pytest.mark.parametrize(
    ("height", "width", "regions"), [(8, 8, 1), (8, 9, 2), (9, 8, 2), (9, 9, 4), (3, 3, 1)]
)
def test_number_of_regions(height, width, regions):
    assert len(Cells(height, width, 4).regions) == regions


def test_a_cell_grid_larger_than_the_map_is_not_copied():
    image = torch.randn(2, 5, 6, 3)
    (part,) = Cells(5, 6, 8).cut(image)
    assert part.data_ptr() == image.data_ptr()
    assert torch.equal(part, image.flatten(1, 2))


def test_cuda_attention_is_launched_in_parts(monkeypatch):
    """CUDA's fused attention takes at most 65535 windows; fake tensors stand in for a GPU."""
    launched = []
    fused = tokens.F.scaled_dot_product_attention
    monkeypatch.setattr(
        tokens.F, "scaled_dot_product_attention", lambda *qkv: (launched.append(len(qkv[0])), fused(*qkv))[1]
    )
    with FakeTensorMode():
        for device, expected in (("cuda", [65535, 65535, 8930]), ("cpu", [140_000])):
            launched.clear()
            out = tokens.self_attention(torch.empty(140_000, 4, 24, device=device), 2)
            assert out.shape == (140_000, 4, 8)
            assert launched == expected


def test_channels_last_maps_become_tokens_without_copying():
    x = torch.randn(2, 3, 5, 6).to(memory_format=torch.channels_last)
    rows = tokens.to_tokens(x)
    assert rows.data_ptr() == x.data_ptr()
    assert rows.is_contiguous()
    assert tokens.to_map(rows).data_ptr() == x.data_ptr()
