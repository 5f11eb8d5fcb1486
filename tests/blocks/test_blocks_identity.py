import copy

import pytest
import torch
from plain import randomized
from specs import SAME

from hmhsa_insert.blocks import Residual, ResidualBlock, build_block

NAMES = [*SAME, "timm/se", "timm/eca", "timm/cbam"]


def build(name, channels=16):
    return build_block(SAME.get(name, {"type": name}), channels, (13, 17))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [False, True])
def test_identity_is_exact(name, training):
    module = Residual(randomized(build(name)), 16, identity=True).train(training)
    x = torch.randn(3, 16, 13, 17)
    for image in (x, x.to(memory_format=torch.channels_last)):
        y = module(image)
        assert torch.equal(y, image)
        assert y.stride() == image.stride()


@pytest.mark.parametrize("name", ["hmhsa", "transformer", "transcnn", "pooled", "mhsa", "irb", "timm/se"])
def test_gamma_scales_the_branch(name):
    block = randomized(build(name)).double().eval()
    module = Residual(block, 16).double().eval()
    scaled = torch.randn(16, dtype=torch.float64)
    module.gamma.data.copy_(scaled)
    x = torch.randn(2, 16, 13, 17, dtype=torch.float64)
    with torch.no_grad():
        f = block(x) - x if isinstance(block, ResidualBlock) else block(x)
        torch.testing.assert_close(module(x), x + scaled.view(1, 16, 1, 1) * f)
        torch.testing.assert_close(Residual(block, 16, identity=False)(x), x + f)


def test_which_blocks_are_residual():
    residual = {name for name in NAMES if isinstance(build(name), ResidualBlock)}
    published = ("hmhsa", "transformer", "transcnn")
    assert residual == {name for name in SAME if name.startswith((*published, "placebo", "matched"))}


def test_without_identity_there_is_no_gamma():
    module = Residual(torch.nn.Identity(), 4, identity=False)
    assert module.gamma is None
    assert not list(module.parameters())
    assert torch.equal(module(torch.ones(1, 4, 2, 2)), torch.full((1, 4, 2, 2), 2.0))


def test_gamma_learns_first_then_the_block():
    module = Residual(build("hmhsa"), 16).train()
    x = torch.randn(2, 16, 13, 17)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    (module(x) * torch.randn_like(x)).sum().backward()
    assert module.gamma.grad.abs().min() > 0
    assert all(p.grad.abs().max() == 0 for p in module.block.parameters())
    optimizer.step()
    optimizer.zero_grad()
    (module(x) * torch.randn_like(x)).sum().backward()
    assert all(p.grad.abs().max() > 0 for p in module.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_output_has_the_dtype_of_the_input(dtype):
    module = Residual(build("pooled"), 16).to(dtype)
    x = (torch.randn(1, 16, 8, 8) * 1e4).to(dtype)
    assert torch.equal(module(x), x)
    with torch.autocast("cpu", torch.bfloat16):
        x = torch.randn(1, 16, 8, 8).to(torch.bfloat16)
        assert torch.equal(Residual(build("transcnn"), 16)(x), x)
        assert Residual(build("transcnn"), 16)(x).dtype == torch.bfloat16


def test_deep_copy_runs_its_own_block():
    module = Residual(randomized(build("mhsa")), 16)
    module.gamma.data.fill_(1.0)
    other = copy.deepcopy(module)
    x = torch.randn(1, 16, 6, 6)
    before = other(x)
    module.gamma.data.zero_()
    module.block.proj.weight.data.zero_()
    assert torch.equal(other(x), before)
    assert torch.equal(module(x), x)
