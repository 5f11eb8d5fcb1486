"""The canary: what this package needs of torch that has no promise is there, and does what it did.

Run it first with a new torch.
"""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import hmhsa_insert
from hmhsa_insert import torch_private as private
from hmhsa_insert.costs.ops import left_out

PACKAGE = Path(hmhsa_insert.__file__).parent
# Imports and uses of what has an underscore in front; torch.testing and the like have none.
PRIVATE = re.compile(r"torch\._(?!C\b|_version__)\w+|torch\._C\._\w+|from torch[\w.]*\._\w+ import")


def test_no_other_file_reaches_into_torch():
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if PRIVATE.search(re.sub(r'"[^"\n]*"', '""', path.read_text(encoding="utf-8")))
    }
    assert found == {"torch_private.py"}


def test_fake_tensors_have_shapes_and_no_memory():
    mode = private.FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        fake = torch.empty(2**20, 2**20)
        assert isinstance(fake, private.FakeTensor)
        assert fake.fake_mode is mode
        assert (fake.device.type, fake.is_meta, type(fake) is torch.Tensor) == ("cpu", False, False)
        out = nn.functional.conv2d(torch.empty(1, 3, 2**15, 2**15), torch.zeros(4, 3, 3, 3))
        assert tuple(out.shape) == (1, 4, 2**15 - 2, 2**15 - 2)
        assert out.untyped_storage().nbytes() == 4 * out.numel()
        assert isinstance(out.untyped_storage()._cdata, int)
        with private.unset_fake_temporarily():
            assert type(torch.zeros(1)) is torch.Tensor


def test_torch_can_be_made_to_say_that_it_compiles():
    for on in (True, False):
        with private.pretend_compiling(on):
            assert torch.compiler.is_compiling() is on
    assert not torch.compiler.is_compiling()


def test_values_of_fake_tensors_are_asked_for_in_vain():
    with private.FakeTensorMode():
        with pytest.raises(private.DataDependentOutputException):
            torch.zeros(3).sum().item()
        with pytest.raises(private.DynamicOutputShapeException):
            torch.zeros(3).nonzero()


def test_a_dispatch_mode_sees_every_operation():
    class Seen(private.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func.overloadpacket)
            return func(*args, **(kwargs or {}))

    seen = []
    with Seen(), private.FakeTensorMode():
        nn.Linear(3, 4)(torch.zeros(2, 3))
    assert torch.ops.aten.addmm in seen or torch.ops.aten.linear in seen


def test_trees_and_higher_order_operators():
    tree = {"a": [1, (2,)], "b": 3}
    assert private.tree_leaves(tree) == [1, 2, 3]
    assert private.tree_map(lambda leaf: leaf + 1, tree) == {"a": [2, (3,)], "b": 4}
    assert isinstance(torch.ops.higher_order.cond, private.HigherOrderOperator)


def test_what_runs_untraced_is_no_part_of_a_trace():
    def forward(x):
        with private.untraced():
            x.cos()
        return x.sin()

    kinds = [node.kind() for node in torch.jit.trace(forward, torch.zeros(1)).graph.nodes()]
    assert "aten::sin" in kinds
    assert "aten::cos" not in kinds


@pytest.mark.skipif(not hasattr(torch.Tag, "reduction"), reason="this torch has no tag for reductions")
def test_reductions_are_left_out_by_name_where_torch_has_no_tag_for_them():
    names = [
        name.partition("::")[2] for name in torch._C._dispatch_get_all_op_names() if name.startswith("aten::")
    ]
    parts = [name.partition(".") for name in names]
    overloads = [getattr(getattr(torch.ops.aten, name), kind or "default") for name, _, kind in parts]
    reductions = [each for each in overloads if torch.Tag.reduction in each.tags]
    assert len(reductions) > 50
    assert not [str(each) for each in reductions if not left_out(each)]
