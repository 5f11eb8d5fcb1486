"""The attention maps of each block: with its values they make its output again, computed by plain loops."""

import pytest
import timm
import torch
from plain import attend_in_cells, group_norm, linear, pool_cells, randomized, upsample
from torch import nn
from torch.nn import functional as F

import hmhsa_insert as hi
from hmhsa_insert.blocks import build_block
from hmhsa_insert.blocks.looks import whole_map

HEAD_DIM = 4


def made(height, width, /, **spec):
    """Return a network that is a block alone, the block that attends, and an image of 8 channels, in float64."""
    block = randomized(build_block({"head_dim": HEAD_DIM, **spec}, 8, (height, width))).double().eval()
    return nn.Sequential(block), block, torch.randn(1, 8, height, width, dtype=torch.float64)


def read(maps, step, values):
    """Return Σ map · values at every position, H×W×C, one head after another; `values` are h×w×C."""
    out = []
    for row in maps:
        for found in row:
            tokens = found.steps[step].tokens[0].double()
            heads = values.unflatten(-1, (len(tokens), -1))
            out.append(torch.einsum("nhw,hwnd->nd", tokens, heads).flatten())
    return torch.stack(out).reshape(len(maps), len(maps[0]), -1)


def every_query(net, image):
    height, width = image.shape[2:]
    ask = lambda y, x: next(iter(hi.attention(net, image, query=(y, x)).values()))  # noqa: E731
    return [[ask(y, x) for x in range(width)] for y in range(height)]


HIERARCHICAL = [
    (6, 6, {"grids": [3, 2]}),
    (7, 5, {"grids": [2, 2, 2]}),
    (7, 5, {"grids": [3, 2], "upsample": "bilinear"}),
    (6, 7, {"grids": [2, 2], "last": "literal", "qkv_bias": True}),
    (4, 4, {"grids": [4]}),
]


@pytest.mark.parametrize(("height", "width", "options"), HIERARCHICAL)
def test_the_steps_of_hmhsa_make_its_output(height, width, options):
    net, block, x = made(height, width, type="hmhsa", **options)
    maps = every_query(net, x)
    tokens = group_norm(x[0].permute(1, 2, 0), block.norm)
    total, scale = 0, 1
    with torch.no_grad():
        for index, (grid, qkv) in enumerate(zip(block.grids, block.qkv, strict=True)):
            if block.last == "global" and index == len(block.grids) - 1:
                grid = max(tokens.shape[:2])
            values = linear(tokens, qkv.weight, qkv.bias).chunk(3, -1)[2]
            mode = "nearest" if index == 0 else block.upsample
            total = total + read(maps, index, values) + upsample(tokens, height, width, scale, mode)
            stepped = attend_in_cells(tokens, qkv.weight, qkv.bias, HEAD_DIM, grid) + tokens
            tokens = pool_cells(stepped, grid, lambda cell: cell.amax(0) + cell.mean(0))
            scale *= grid
        again = linear(total, block.proj.weight, block.proj.bias).permute(2, 0, 1)
        torch.testing.assert_close(again, block.branch(x)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("height", "width", "grid", "pool"), [(6, 6, 3, 2), (7, 5, 3, 2), (5, 8, 2, 3)])
def test_the_steps_of_hmhsa_pooled_make_its_output(height, width, grid, pool):
    net, block, x = made(height, width, type="hmhsa_pooled", grid_size=grid, pool=pool)
    maps = every_query(net, x)
    image = x[0].permute(1, 2, 0)
    with torch.no_grad():
        normed = group_norm(image, block.norm)
        local = read(maps, 0, linear(normed, block.qkv.weight, block.qkv.bias).chunk(3, -1)[2])
        gathered = group_norm(image + local, block.grid_norm)
        keys = group_norm(pool_cells(gathered, pool, lambda cell: cell.mean(0)), block.ds_norm)
        everywhere = read(maps, 1, linear(keys, block.kv.weight, block.kv.bias).chunk(2, -1)[1])
        again = linear(everywhere + gathered, block.proj.weight, block.proj.bias).permute(2, 0, 1)
        torch.testing.assert_close(again, block(x)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("spec", [{"type": "mhsa"}, {"type": "hmhsa_pooled", "grid_size": 1}])
def test_the_map_of_plain_attention_makes_its_output(spec):
    net, block, x = made(4, 5, **spec)
    normed = group_norm(x[0].permute(1, 2, 0), block.norm)
    with torch.no_grad():
        values = linear(normed, block.qkv.weight, block.qkv.bias).chunk(3, -1)[2]
        again = linear(read(every_query(net, x), 0, values), block.proj.weight, block.proj.bias)
        torch.testing.assert_close(again.permute(2, 0, 1), block(x)[0], rtol=1e-5, atol=1e-6)


SPECS = [
    {"type": "hmhsa", "grids": [3, 2]},
    {"type": "hmhsa", "grids": [2, 2, 2], "upsample": "bilinear", "width": 4},
    {"type": "hmhsa", "grids": [2, 3], "last": "literal"},
    {"type": "hmhsa_pooled", "grid_size": 3, "memory": "lean"},
    {"type": "mhsa", "width": 12},
    {"type": "transformer"},
    {"type": "transcnn", "grid_size": 2},
]


@pytest.mark.parametrize("spec", SPECS)
def test_maps_add_up_to_one_and_the_mean_is_that_of_all_queries(spec):
    net, _, x = made(7, 5, **spec)
    x = torch.cat([x, torch.randn_like(x)])
    (mean,) = hi.attention(net, x).values()
    queries = every_query(net, x)
    for index, step in enumerate(mean.steps):
        single = torch.stack([found.steps[index].weights for row in queries for found in row])
        torch.testing.assert_close(single.sum((-1, -2)), torch.ones(single.shape[:3]))
        assert (single >= 0).all()
        torch.testing.assert_close(step.weights, single.mean(0))
        torch.testing.assert_close(step.tokens.sum((-1, -2)), torch.ones(step.tokens.shape[:2]))


def test_a_query_looks_inside_its_own_cell():
    net, _, x = made(7, 5, type="hmhsa", grids=[3, 2])
    (found,) = hi.attention(net, x, query=(6, 1)).values()
    assert found.query == (6, 1)
    seen = found.steps[0].weights[0].gt(0)
    assert seen[:, 6, :3].all()
    assert seen.sum().item() == 3 * found.steps[0].weights.shape[1]  # a cell that the edge cuts to 1×3
    pooled = found.steps[1].weights[0, 0]
    assert (pooled > 0).all()
    assert (pooled[0:3, 0:3] == pooled[0, 0]).all()  # the positions of one token


def test_a_pixel_of_the_image_is_its_position_on_the_map():
    net = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), build_block({"type": "mhsa", "head_dim": 4}, 8, 6))
    (found,) = hi.attention(net, torch.randn(3, 24, 24), query=(23, 9)).values()
    assert found.query == (5, 2)
    assert found.size == (6, 6)


def test_what_cannot_be_shown_is_an_error():
    plain = timm.create_model("test_resnet")
    with pytest.raises(hi.ModelError, match="no block of this model attends"):
        hi.attention(plain, torch.randn(3, 64, 64))
    edits = [
        {"op": "insert", "id": "attn", "at": {"stage": 3}, "block": {"type": "mhsa", "head_dim": 32}},
        {"op": "insert", "id": "eca", "at": {"stage": 4}, "block": {"type": "timm/eca"}},
    ]
    net = hi.apply(plain, {"version": 1, "edits": edits}, input_size=(3, 64, 64)).train()
    with pytest.raises(hi.ModelError, match=r"layer4\.0\.eca: EcaModule is a block without attention"):
        hi.attention(net, torch.randn(3, 64, 64), block="layer4.0.eca")
    with pytest.raises(hi.ModelError, match=r"layer3\.0\.atn: no block of this name attends"):
        hi.attention(net, torch.randn(3, 64, 64), block="layer3.0.atn")
    with pytest.raises(hi.ModelError, match="row 64, column 0 is outside of an image of 64×64 pixels"):
        hi.attention(net, torch.randn(3, 64, 64), query=(64, 0))
    with pytest.raises(hi.ModelError, match="give C×H×W"):
        hi.attention(net, torch.randn(64, 64))
    with pytest.raises(hi.ModelError, match="give C×H×W"):
        hi.attention(net, torch.randn(0, 3, 64, 64))
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    assert list(hi.attention(net, torch.randn(3, 64, 64), block="layer3.0.attn")) == ["layer3.0.attn.block"]
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())
    assert net.training
    assert net.layer3[0].attn.block.training
    assert not net.layer3[0].attn.block.norm._forward_pre_hooks


def test_attention_of_other_code_is_refused_and_not_shown():
    class Fixed(nn.Module):
        """Says that it attends to the whole map, and attends to its first row."""

        norm = nn.Identity()

        def looks(self, height, width):
            return (whole_map("all", "none", height, width),)

        def forward(self, x):
            tokens = self.norm(x)[:, :, 0].transpose(1, 2)[:, None]
            return x + F.scaled_dot_product_attention(tokens, tokens, tokens).sum()

    with pytest.raises(hi.ModelError, match="its attention was not seen"):
        hi.attention(nn.Sequential(Fixed()), torch.randn(3, 8, 8))
