"""A new kind of selector is one class and its row: it is read, explained, in the JSON Schema, and picks places."""

import pickle
from typing import Annotated, ClassVar

import jsonschema
import pytest
import torch
from torch import nn

import hmhsa_insert as hi
from hmhsa_insert.blocks import BlockType
from hmhsa_insert.recipe import SELECTORS, Selector, json_schema, parse_text
from hmhsa_insert.recipe.fields import must


class KernelSelector(Selector):
    """Convolutions by the side of their kernel."""

    kind: ClassVar[str] = "kernel"
    ops: ClassVar = ("insert", "replace")

    kernel: Annotated[int, must("be a side in pixels", lambda value: type(value) is int, {"type": "integer"})]
    """Side of the kernel, in pixels."""
    bias: bool = False
    """Keep those with a bias."""

    def modules(self, network):
        found = [
            name
            for name, module in network.modules.items()
            if getattr(module, "kernel_size", None) == (self.kernel, self.kernel)
            and (module.bias is not None) == self.bias
        ]
        if not found:
            network.refuse("kernel", f"no kernel has a side of {self.kernel}", "another side")
        return found


def net():
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=2, bias=False),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(16, 16, 3, padding=1, bias=False),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 2),
    )


def edit(at, op="insert"):
    return {"op": op, "id": "a", "at": at, "block": {"type": "irb", "expansion": 1, "kernel_size": 3}}


def recipe(*edits):
    return {"version": 1, "name": "new", "edits": list(edits)}


def problems_of(at):
    text = f"version: 1\nedits:\n  - {{op: insert, id: a, at: {at}, block: {{type: irb}}}}\n"
    return [(p.where, p.message, p.tip) for p in parse_text(text, "r.yaml")[1]]


@pytest.fixture(autouse=True)
def row(monkeypatch):
    monkeypatch.setitem(SELECTORS, "kernel", KernelSelector)


def planned(*edits):
    return [(site.action, site.qualname) for site in hi.plan(net(), recipe(*edits), (3, 32, 32)).sites]


def test_it_picks_maps_and_modules():
    assert planned(edit({"kernel": 3})) == [("hook_output", "1"), ("hook_output", "2")]
    assert planned(edit({"kernel": 3, "exclude": "1"})) == [("hook_output", "2")]
    assert planned(edit({"kernel": 3, "bias": True}, "replace")) == [("swap", "3")]
    with pytest.raises(hi.PlanError, match="no kernel has a side of 7"):
        planned(edit({"kernel": 7}))
    with pytest.raises(hi.PlanError, match="expected 3 sites, found 2"):
        planned(edit({"kernel": 3, "expect": 3}))


def test_it_is_read_and_written_back():
    written = hi.plan(net(), recipe(edit({"bias": False, "kernel": 5, "expect": 1})), (3, 32, 32)).recipe
    assert list(written["edits"][0]["at"].items()) == [("kernel", 5), ("bias", False), ("expect", 1)]


def test_what_is_wrong_is_said_at_its_place():
    allowed = (
        "after, bias, block, class, downsample, exclude, expect, in_stage, inside, kernel, module, neck, node, stage, "
        "stride, with"
    )
    assert problems_of("{kernel: 3}") == []
    assert problems_of("{kernel: x}") == [("r.yaml:3:38", "'kernel' must be a side in pixels, found 'x'", "")]
    assert problems_of("{kernel: 3, bias: 1}") == [
        ("r.yaml:3:47", "'bias' must be true or false, found 1", "")
    ]
    assert problems_of("{kernal: 3}") == [
        ("r.yaml:3:30", "unknown key 'kernal' in 'at'", f"did you mean 'kernel'? allowed: {allowed}")
    ]
    assert problems_of("{stage: 3, bias: true}") == [
        ("r.yaml:3:40", "'bias' does not go with 'stage'", "it goes with 'kernel'")
    ]
    assert problems_of("{stage: 3, kernel: 3}")[0][1] == "'at' names two kinds of place, 'stage' and 'kernel'"
    assert "'node' or 'kernel'" in problems_of("{expect: 3}")[0][1]
    text = "version: 1\nedits: [{op: remove, id: a, at: {kernel: 3}}]\n"
    assert [p.message for p in parse_text(text)[1]] == ["'remove' does not take 'kernel'"]


def test_it_is_in_the_json_schema():
    schema = json_schema()
    described = schema["$defs"]["selector"]["properties"]
    assert described["kernel"] == {"type": "integer", "description": "Side of the kernel, in pixels."}
    takes = jsonschema.Draft202012Validator(schema).is_valid
    assert takes(recipe(edit({"kernel": 3, "bias": True})))
    assert not takes(recipe(edit({"kernel": "x"})))
    assert not takes(recipe(edit({"kernel": 3, "stage": 3})))
    assert not takes(recipe(edit({"stage": 3, "bias": True})))
    assert not takes(recipe({"op": "remove", "id": "a", "at": {"kernel": 3}}))


def test_without_its_row_it_is_unknown(monkeypatch):
    monkeypatch.delitem(SELECTORS, "kernel")
    assert problems_of("{kernel: 3}")[0][1] == "unknown key 'kernel' in 'at'"


def test_a_blocks_options_are_parsed_once(monkeypatch):
    parsed = []
    read = BlockType.read
    monkeypatch.setattr(BlockType, "read", lambda *of: (parsed.append(of[1]), read(*of))[1])
    edited = hi.apply(net(), recipe(edit({"kernel": 3})), (3, 32, 32))
    assert len(parsed) == 1
    assert edited(torch.zeros(1, 3, 32, 32)).shape == (1, 2)


def test_a_model_with_parsed_options_is_pickled():
    control = {**edit({"kernel": 3}), "block": {"type": "placebo", "of": {"type": "mhsa", "head_dim": 8}}}
    edited = hi.apply(net(), recipe(control), (3, 32, 32)).eval()
    again = pickle.loads(pickle.dumps(edited))
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(again(x), edited(x))
