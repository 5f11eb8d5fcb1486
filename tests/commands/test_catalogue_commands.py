"""``show``, ``recipes``, ``blocks``, ``models``, ``recipe check`` and ``recipe schema``."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml
from command_line import output

from hmhsa_insert.blocks import BLOCKS, ROWS
from hmhsa_insert.models import CONFIGS
from hmhsa_insert.recipe import shipped_recipes

SHIPPED = [shipped.name for shipped in shipped_recipes()]


def test_show_says_what_a_folder_holds(artifacts) -> None:
    text = output("show mine")
    assert text.splitlines()[:2] == ["mine", "base network  Sequential, usernet:small"]
    assert "made with     torch 2." in text
    assert "weights       19 tensors, 113.372 kB\n" in text
    assert "edited with   backend tree, seed 0\n" in text
    assert "new weights: 6.attn.*" in text
    assert "block: {type: hmhsa, head_dim: 16, grids: auto}" in text


def test_every_shipped_recipe_is_listed_with_its_intent() -> None:
    text = output("recipes")
    assert [line.split(" ")[0] for line in text.splitlines()[1:] if not line.startswith(" ")] == SHIPPED
    assert "One H-MHSA at the end of stage 3" in text


def test_every_block_type_is_listed() -> None:
    lines = output("blocks").splitlines()
    listed = [line.split(" ")[0] for line in lines[1:-2] if not line.startswith(" ")]
    assert listed == [*BLOCKS, *ROWS]
    assert lines[-1] == "`hmhsa-insert blocks TYPE` shows the options of one."


@pytest.mark.parametrize("name", [*BLOCKS, "timm/se", "timm/bottleneck"])
def test_the_options_of_a_block_type(name: str) -> None:
    text = output(f"blocks {name}")
    assert text.startswith(f"{name}: ")
    if name == "hmhsa":
        assert "head_dim  64       channels of one attention head, which must divide the" in text
    if name == "silu":
        assert text.endswith("it has no options\n")


def test_what_is_told_of_a_block_of_another_library() -> None:
    lines = output("blocks timm/swin").splitlines()
    assert lines[:4] == [
        "timm/swin: block of Swin",
        "paper: https://arxiv.org/abs/2103.14030",
        "licence: Apache-2.0, adapted from code under MIT",
        "class: timm.models.swin_transformer:SwinTransformerBlock",
    ]
    assert [line.split()[1] for line in lines if line.startswith("window_size")] == ["7"]
    listed = {each["name"]: each for each in json.loads(output("blocks --json"))}
    assert list(listed) == [*BLOCKS, *ROWS]
    assert listed["timm/swin"]["paper"] == "https://arxiv.org/abs/2103.14030"
    assert listed["hmhsa"].keys() == {"name", "summary"}


def test_models_lists_this_projects_own_and_patterns() -> None:
    assert output("models").splitlines()[: len(CONFIGS)] == [f"timm/{name}" for name in CONFIGS]
    assert output("models 'resnet1?'").splitlines() == ["timm/resnet18", "torchvision/resnet18"]
    assert output("models 'torchvision/resnet50*'").splitlines() == ["torchvision/resnet50"]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_pass_the_check(name: str) -> None:
    assert output(f"recipe check {name}").endswith("no problem\n")


def test_the_schema_accepts_every_shipped_recipe_and_refuses_another() -> None:
    schema = json.loads(output("recipe schema"))
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    for shipped in shipped_recipes():
        assert not list(validator.iter_errors(yaml.safe_load(shipped.path.read_text())))
    wrong = {
        "version": 1,
        "edits": [{"op": "insert", "id": "a", "at": {"stage": 3}, "block": {"type": "hmhas"}}],
    }
    assert list(validator.iter_errors(wrong))
