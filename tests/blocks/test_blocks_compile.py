"""``torch.compile`` takes every block whole, and one class many times."""

import pytest
import torch
from plain import randomized
from specs import SAME
from torch import nn
from torch._dynamo.testing import CompileCounter

from hmhsa_insert.blocks import build_block

KINDS = ["hmhsa", "pooled", "mhsa"]
# The cells do not divide it.
SIZE = (13, 17)


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def stack(name, channels, blocks):
    made = [build_block({**SAME[name], "head_dim": 8}, channels, SIZE) for _ in range(blocks)]
    return nn.Sequential(*(randomized(block, seed) for seed, block in enumerate(made))).eval()


@pytest.mark.parametrize("name", [pytest.param("hmhsa", marks=pytest.mark.long), "pooled", "mhsa"])
def test_many_blocks_of_one_class_are_one_graph(name):
    counter = CompileCounter()
    network = stack(name, 16, 9)  # dynamo compiles one function 8 times at most
    x = torch.randn(2, 16, *SIZE)
    with torch.no_grad():
        compiled = torch.compile(network, backend=counter, fullgraph=True)
        torch.testing.assert_close(compiled(x), network(x))
        compiled(x + 1)
    assert counter.frame_count == 1


@pytest.mark.parametrize("name", KINDS)
def test_each_size_is_compiled_once(name):
    counter = CompileCounter()
    network = stack(name, 16, 1)
    compiled = torch.compile(network, backend=counter, fullgraph=True, dynamic=False)
    sizes = [(13, 17), (14, 14), (8, 8), (13, 17), (14, 14)]
    with torch.no_grad():
        for size in sizes:
            compiled(torch.randn(2, 16, *size))
    assert counter.frame_count == len(set(sizes))
    assert not torch._dynamo.utils.counters["graph_break"]


def test_instances_compiled_by_themselves_share_no_limit():
    """Each of nine compiled blocks has other weights: none may fall back to eager, which dynamo does silently."""
    counter = CompileCounter()
    x = torch.randn(2, 16, *SIZE)
    with torch.no_grad(), torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        for block in stack("pooled", 16, 9):
            torch.testing.assert_close(torch.compile(block, backend=counter, fullgraph=True)(x), block(x))
    assert counter.frame_count <= 9


def test_training_with_less_memory_is_one_graph():
    counter = CompileCounter()
    blocks = [build_block({**SAME["pooled"], "memory": "lean"}, 16, SIZE) for _ in range(2)]
    network = nn.Sequential(*blocks).train()
    x = torch.randn(2, 16, *SIZE, requires_grad=True)
    torch.compile(network, backend=counter, fullgraph=True)(x).square().sum().backward()
    assert counter.frame_count == 1


@pytest.mark.long
@pytest.mark.parametrize("spec", [{"type": "hmhsa", "grids": [8, 8]}, {"type": "hmhsa_pooled"}])
def test_a_second_size_keeps_one_graph(spec: dict[str, object]) -> None:
    """After two sizes the compiler keeps them symbolic."""
    torch.manual_seed(0)
    block = build_block({**spec, "head_dim": 8}, 16, 32).eval()
    compiled = torch.compile(block, backend="eager", fullgraph=True)
    for side in (16, 13, 20):
        x = torch.randn(2, 16, side, side)
        assert torch.allclose(compiled(x), block(x), atol=1e-6)
