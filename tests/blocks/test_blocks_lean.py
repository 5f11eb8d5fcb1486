"""``memory: lean`` changes what is kept for the backward pass, and nothing else."""

import copy

import pytest
import torch
from specs import SAME
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from hmhsa_insert.blocks import build_block
from hmhsa_insert.blocks.lean import set_lean
from hmhsa_insert.costs.memory import training_memory

CHANNELS = 16
# The controls have no such option.
LEANABLE = [name for name, spec in SAME.items() if "of" not in spec]
LEAN = [name for name in LEANABLE if "width" not in SAME[name]]


def pair(name, size=(13, 17), **options):
    torch.manual_seed(0)
    fast = build_block({**SAME[name], **options}, CHANNELS, size).train()
    lean = build_block({**SAME[name], **options, "memory": "lean"}, CHANNELS, size).train()
    lean.load_state_dict(fast.state_dict())
    return fast, lean


def step(block, x, uses=1):
    """Return output, gradients and running statistics of one training step under one seed."""
    torch.manual_seed(1)
    x = x.clone().requires_grad_()
    y = x
    for _ in range(uses):
        y = block(y)
    y.float().square().sum().backward()
    gradients = [parameter.grad for parameter in block.parameters()]
    return [y.detach(), x.grad, *gradients, *(buffer.clone() for buffer in block.buffers())]


def saved_bytes(block, x):
    """Return the bytes kept for the backward pass, each storage once, parameters apart."""
    kept = []

    def pack(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        block(x)
    own = {parameter.data_ptr() for parameter in block.parameters()}
    sizes = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    return sum(size for pointer, size in sizes.items() if pointer not in own)


def assert_same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", LEANABLE)
def test_outputs_gradients_and_statistics_are_bit_equal(name):
    fast, lean = pair(name)
    x = torch.randn(2, CHANNELS, 13, 17)
    assert_same(step(lean, x), step(fast, x))
    assert any(module.lean for module in lean.modules() if hasattr(module, "lean"))
    assert list(lean.state_dict()) == list(fast.state_dict())


@pytest.mark.parametrize("name", LEAN)
def test_it_keeps_less(name):
    fast, lean = pair(name, size=(28, 28))
    x = torch.randn(2, CHANNELS, 28, 28)
    least = 3.3 if SAME[name]["type"] in ("hmhsa", "hmhsa_pooled", "mhsa") else 1.4
    assert saved_bytes(fast, x) >= least * saved_bytes(lean, x)


@pytest.mark.parametrize("name", ["pooled", "transcnn"])
def test_random_drops_are_the_same_in_both_passes(name):
    fast, lean = pair(name, drop=0.3)
    x = torch.randn(4, CHANNELS, 13, 17)
    assert_same(step(lean, x), step(fast, x))


@pytest.mark.parametrize("name", ["hmhsa-batch", "pooled-batch", "irb", "transcnn"])
def test_double_use(name):
    fast, lean = pair(name)
    x = torch.randn(2, CHANNELS, 13, 17)
    assert_same(step(lean, x, uses=2), step(fast, x, uses=2))


@pytest.mark.parametrize("name", ["hmhsa", "pooled-batch", "transformer", "irb-group"])
def test_autocast(name):
    fast, lean = pair(name)
    x = torch.randn(2, CHANNELS, 13, 17)
    with torch.autocast("cpu", torch.bfloat16):
        outcomes = [step(block, x) for block in (lean, fast)]
    assert_same(*outcomes)


@pytest.mark.parametrize("name", ["hmhsa", "pooled", "pooled-batch", "irb-group"])
def test_compiled_without_graph_breaks(name):
    torch._dynamo.reset()
    fast, lean = pair(name)
    x = torch.randn(2, CHANNELS, 13, 17)
    compiled = step(torch.compile(lean, backend="aot_eager", fullgraph=True, dynamic=False), x)
    for a, b in zip(compiled, step(fast, x), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_without_gradients_nothing_is_recomputed():
    fast, lean = pair("pooled-batch")
    x = torch.randn(2, CHANNELS, 13, 17)
    with torch.no_grad():
        assert torch.equal(lean.eval()(x), fast.eval()(x))


@pytest.mark.parametrize("group", ["conv1", "conv2", "conv3"])
@pytest.mark.parametrize("kind", ["register_forward_hook", "register_forward_pre_hook"])
def test_an_edit_inside_a_lean_irb_still_runs(kind, group):
    _, lean = pair("irb")
    calls = []
    getattr(lean.get_submodule(group), kind)(lambda *_: calls.append(1))
    step(lean, torch.randn(2, CHANNELS, 13, 17))
    assert calls


def test_a_whole_network_can_be_switched():
    fast, _ = pair("transcnn")
    network = nn.Sequential(fast, copy.deepcopy(fast))
    x = torch.randn(2, CHANNELS, 28, 28)
    before = saved_bytes(network, x)
    assert saved_bytes(set_lean(network), x) * 1.4 < before
    assert saved_bytes(set_lean(network, False), x) == before


@pytest.mark.parametrize("memory", ["fast", "lean"])
def test_a_second_derivative_is_refused_by_name(memory):
    block = build_block({**SAME["pooled"], "memory": memory}, CHANNELS)
    x = torch.randn(2, CHANNELS, 13, 17, requires_grad=True)
    gradient = torch.autograd.grad(block(x).square().sum(), x, create_graph=True)[0]
    with pytest.raises(RuntimeError, match=r"attention.*is not implemented"):
        gradient.square().sum().backward()


def average_over_processes(rank, file, world, outcome):
    """Run one step of a lean block on this process's share of a batch, and write the gradients."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world)
    _, lean = pair("pooled")
    x = torch.randn(4, CHANNELS, 13, 17, generator=torch.Generator().manual_seed(2)).double()
    # Held by a name: gradients are averaged only while the wrapper lives.
    network = DistributedDataParallel(lean.double())
    network(x.chunk(world)[rank]).square().sum().backward()
    if rank == 0:
        torch.save([parameter.grad for parameter in lean.parameters()], outcome)
    distributed.destroy_process_group()


def test_ddp_averages_the_gradients_of_two_processes(tmp_path):
    outcome = tmp_path / "gradients.pt"
    multiprocessing.spawn(average_over_processes, (str(tmp_path / "store"), 2, str(outcome)), nprocs=2)
    fast, _ = pair("pooled")
    x = torch.randn(4, CHANNELS, 13, 17, generator=torch.Generator().manual_seed(2)).double()
    (fast.double()(x).square().sum() / 2).backward()
    for found, parameter in zip(torch.load(outcome), fast.parameters(), strict=True):
        torch.testing.assert_close(found, parameter.grad)


def test_counting_what_is_saved_does_not_switch_lean_off():
    fast, lean = pair("irb-group")
    counted = [training_memory(block, (CHANNELS, 28, 28)).saved_bytes for block in (fast, lean)]
    x = torch.randn(2, CHANNELS, 28, 28)
    # The image itself is counted too; in float32 both ways see the same tensors.
    assert counted == [saved_bytes(block, x) for block in (fast, lean)]
    assert counted[0] > 1.8 * counted[1]
