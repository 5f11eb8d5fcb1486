"""Every block acts, nothing else changes, and verification notices a broken edit, whatever the forward's Python."""

from __future__ import annotations

import copy
import io
import types
from typing import Any

import pytest
import python_nets
import reader_nets
import torch
from torch import nn

import hmhsa_insert as hi
from hmhsa_insert.surgery.base.fake import deep_copy
from hmhsa_insert.surgery.edit.splice import inserted_modules, ledgers
from hmhsa_insert.surgery.python.classes import user_class

SIZE = (3, 32, 32)
ALL: dict[str, Any] = {**python_nets.NETS, **reader_nets.NETS}


def recipe(init: str = "identity", id: str = "new", stride: int = 4) -> dict[str, Any]:
    block = {"type": "irb", "expansion": 1}
    at = {"stride": [stride], "block": "last"}
    return {"version": 1, "edits": [{"op": "insert", "id": id, "at": at, "block": block, "init": init}]}


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    return ALL[name]()


def out(model: nn.Module, seed: int = 1) -> torch.Tensor:
    torch.manual_seed(seed)
    with torch.no_grad():
        result: torch.Tensor = model.eval()(torch.randn(2, *SIZE))
    return result


@pytest.mark.parametrize("name", ALL)
def test_a_block_acts_and_identity_does_not(name: str) -> None:
    base = made(name)
    before = {key: value.clone() for key, value in base.state_dict().items()}
    edited = hi.apply(base, recipe(), SIZE)
    failed = [check for check in hi.verify(base, edited) if not check.passed]
    assert not failed
    assert torch.equal(out(edited), out(base))
    ((key, block),) = inserted_modules(edited)
    nn.init.constant_(block.gamma, 0.5)
    assert not torch.equal(out(edited), out(base)), f"{key} does not act"
    assert torch.equal(out(deep_copy(edited)), out(edited))
    if (
        name in python_nets.NETS and name != "Kept"
    ):  # it keeps a map, which copy.deepcopy refuses in the base too
        assert torch.equal(out(copy.deepcopy(edited)), out(edited))
    removed = hi.remove(edited)
    assert torch.equal(out(removed), out(base))
    assert not any(key.split(".")[-1] == "new" for key, _ in removed.named_modules())
    assert all(torch.equal(value, before[key]) for key, value in base.state_dict().items())


def take_out(model: nn.Module) -> None:
    """Leave the block in the tree, and run the forward without it."""
    (site,) = ledgers(model)[-1].plan.sites
    host = model.get_submodule(site.qualname)
    if site.action == "expression":
        host.__class__ = user_class(type(host))
    elif site.action == "graph":
        (call,) = (n for n in host.graph.nodes if n.op == "call_module" and n.target == site.child)
        call.replace_all_uses_with(call.args[0])
        host.recompile()
    else:
        hooks = host._forward_hooks if site.action == "hook_output" else host._forward_pre_hooks
        hooks.popitem(last=False)


def act_in_training_only(model: nn.Module) -> None:
    ((_, block),) = inserted_modules(model)
    block.forward = types.MethodType(
        lambda self, x: type(self).forward(self, x) if self.training else x + 1e-3, block
    )


@pytest.mark.parametrize("break_it", [take_out, act_in_training_only])
@pytest.mark.parametrize("name", ALL)
def test_verification_catches_a_broken_edit(name: str, break_it: Any) -> None:
    base = made(name)
    edited = hi.apply(base, recipe(), SIZE)
    break_it(edited)
    failed = {check.name for check in hi.verify(base, edited) if not check.passed}
    if break_it is take_out:
        assert "wiring" in failed
        if name != "OwnSequence":  # a sequence that runs its new child as one layer more
            assert {"gradients", "blocks act"} <= failed
    elif not name.startswith("Exit"):  # on these inputs the network may leave before the block in eval mode
        assert "eval outputs" in failed


PICKLED = [n for n in python_nets.NETS if n not in ("Kept",)]


@pytest.mark.parametrize("name", PICKLED)
def test_an_edited_forward_is_saved_and_loaded_by_torch(name: str) -> None:
    edited = hi.apply(made(name), recipe("random"), SIZE)
    file = io.BytesIO()
    torch.save(edited, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    assert type(again) is type(edited)
    assert torch.equal(out(again), out(edited))


@pytest.mark.parametrize("name", ["LiveAttribute", "Loop", "LoopedComprehension", "Helper", "DenseBlocks"])
def test_the_same_forward_for_compile_export_and_artifacts(name: str, tmp_path: Any) -> None:
    base = made(name)
    edited = hi.apply(base, recipe("random"), SIZE).eval()
    image = torch.randn(2, *SIZE)
    with torch.no_grad():
        wanted = edited(image)
        assert torch.equal(torch.compile(edited, backend="eager", fullgraph=True)(image), wanted)
        assert torch.equal(torch.export.export(edited, (image,)).module()(image), wanted)
    again = hi.load(hi.save(edited, tmp_path / "artifact"), base=made(name))
    with torch.no_grad():
        assert torch.equal(again.eval()(image), wanted)


@pytest.mark.parametrize("name", ["Flat", "Loop", "Helper", "Super"])
def test_two_edits_in_one_forward(name: str) -> None:
    base = made(name)
    once = hi.apply(base, recipe("random", "one", 2), SIZE)
    twice = hi.apply(once, recipe("random", "two"), SIZE)
    assert not torch.equal(out(twice), out(once))
    assert [check for check in hi.verify(once, twice) if not check.passed] == []
    both = hi.apply(
        base,
        {"version": 1, "edits": [recipe(id="a", stride=2)["edits"][0], recipe(id="b")["edits"][0]]},
        SIZE,
    )
    assert [check for check in hi.verify(base, both) if not check.passed] == []
    assert torch.equal(out(hi.remove(twice)), out(base))


def test_attributes_stay_live() -> None:
    base, edited = made("LiveAttribute"), hi.apply(made("LiveAttribute"), recipe(), SIZE)
    base.alpha = edited.alpha = 3.0
    assert torch.equal(out(edited), out(base))
    base, edited = made("Flag"), hi.apply(made("Flag"), recipe(), SIZE)
    base.flag = edited.flag = True
    assert torch.equal(out(edited), out(base))
    edited = hi.apply(made("OverSuper"), recipe(), SIZE)
    assert edited.calls == 0
    out(edited), out(edited)
    assert edited.calls == 2
    edited = hi.apply(made("Kept"), recipe(), SIZE)
    out(edited)
    assert isinstance(edited.feature, torch.Tensor)
    mask = torch.full((1, 1, 8, 8), 0.5)
    base, edited = made("Optional").eval(), hi.apply(made("Optional"), recipe(), SIZE).eval()
    image = torch.randn(2, *SIZE)
    assert torch.equal(edited(image, mask), base(image, mask))
    assert not torch.equal(edited(image, mask), edited(image))


def test_contexts_stay() -> None:
    def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
        torch.manual_seed(1)
        model.eval()(torch.randn(2, *SIZE)).pow(2).sum().backward()
        return {k: p.grad for k, p in model.named_parameters() if "new" not in k and p.grad is not None}

    base, edited = made("NoGradBranch"), hi.apply(made("NoGradBranch"), recipe(), SIZE)
    wanted, got = gradients(base), gradients(edited)
    assert wanted.keys() == got.keys()
    assert all(torch.equal(wanted[key], got[key]) for key in wanted)
    runs: list[int] = []
    for model in (made("Checkpointed"), hi.apply(made("Checkpointed"), recipe(), SIZE)):
        count: list[int] = []
        model.c2.register_forward_pre_hook(lambda *_, count=count: count.append(1))
        model.train()(torch.randn(2, *SIZE)).sum().backward()
        runs.append(len(count))
    assert runs == [2, 2]
    edited = hi.apply(made("Decorated"), recipe(), SIZE)
    out(edited)
    assert edited.last_call == "forward"
