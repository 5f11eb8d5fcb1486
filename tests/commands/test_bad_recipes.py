"""Recipes that cannot be used: what the command line says, word for word, and that it writes nothing."""

from __future__ import annotations

import pytest
from command_line import error_of, recipe

APPLY = "apply usernet:small -r r.yaml --input-size 64 -o out"
STAGES = "`hmhsa-insert stages MODEL` lists the stages and their blocks"
NARROW = "narrow with 'exclude', 'in_stage' or 'with: {stride: 1}'"
REFUSED = "error: the plan was refused"
UNUSABLE = "error: the recipe cannot be used"

# What is wrong: the recipe's text, then the report.
RECIPES = {
    "unknown key": (
        recipe(more="    inti: identity\n"),
        UNUSABLE,
        "  r.yaml:8:5: unknown key 'inti' in an edit",
        "    did you mean 'init'? allowed: at, block, id, init, keep, op, position",
    ),
    "duplicate key": (
        recipe(more="    id: again\n"),
        UNUSABLE,
        "  r.yaml:8:5: the key 'id' is given twice, on lines 5 and 8",
        "    keep one of them",
    ),
    "1e-3 is a number": (
        recipe(block="{type: hmhsa, head_dim: 1e-3}"),
        REFUSED,
        "  r.yaml:7:36: 'head_dim' must be an integer, found 0.001",
    ),
    "unknown block": (
        recipe(block="{type: hmhas}"),
        REFUSED,
        "  r.yaml:7:19: there is no block type 'hmhas'",
        "    did you mean 'hmhsa' or 'mhsa'?",
    ),
    "unknown option": (
        recipe(block="{type: hmhsa, head_dims: 16}"),
        REFUSED,
        "  r.yaml:7:37: unknown key 'head_dims' in the options of hmhsa",
        "    did you mean 'head_dim'? allowed: grids, head_dim, last, memory, norm, qkv_bias, type, upsample, width",
    ),
    "no match": (
        recipe("{class: GELU}", "{type: silu}", "replace"),
        REFUSED,
        "  r.yaml:6:17: no module of class 'GELU'",
        "    did you mean 'ReLU'?",
    ),
    "no module of that name": (
        recipe("{module: layer9.*}", "{type: silu}", "replace"),
        REFUSED,
        "  r.yaml:6:18: no module is named 'layer9.*'",
        f"    {STAGES}",
    ),
    "head_dim that does not divide": (
        recipe(block="{type: hmhsa, head_dim: 48}"),
        REFUSED,
        "  r.yaml:7:36: at '6': head_dim 48 does not divide 64 channels; nearest that do: 32, 64",
        "    head_dim: auto chooses one that does",
    ),
    "stage that does not exist": (
        recipe("{stage: 4}"),
        REFUSED,
        "  r.yaml:6:17: no stage 4: the network's stages are 1, 2, 3 (strides 4, 8, 16)",
        f"    {STAGES}",
    ),
    "stride for a stage": (
        recipe("{stage: 32}"),
        UNUSABLE,
        "  r.yaml:6:17: 'stage' must be an integer from 0 to 7, or a list of them, or 'all', found 32",
        "    stride 32 is stage 4: stage k has stride 2^(k+1); `hmhsa-insert stages MODEL` lists a model's stages",
    ),
    "block that does not exist": (
        recipe("{stage: 3, block: [9]}"),
        REFUSED,
        "  r.yaml:6:27: stage 3 (stride 16): there is no block 9: its blocks are 0 to 0",
        f"    {STAGES}",
    ),
    "other number of sites": (
        recipe("{class: ReLU, expect: 2}", "{type: silu}", "replace"),
        REFUSED,
        "  r.yaml:6:31: expected 2 sites, found 3",
    ),
    "python object": (
        recipe(block="!!python/object/apply:os.system [touch x]"),
        UNUSABLE,
        "  r.yaml:7:12: the tag !!python/object/apply:os.system is not allowed: only plain values are read",
    ),
    "id that modules have": (
        recipe(id="forward"),
        UNUSABLE,
        "  r.yaml:5:9: 'id' cannot be 'forward': it is a name that modules already have",
        "    call it 'forward_block', for example",
    ),
    "id that is taken": (
        recipe("{module: '0'}", id="stride"),
        REFUSED,
        "  r.yaml:5:9: '0' already has a 'stride'",
        "    choose an id that is free",
    ),
    "downsampling inserted": (
        recipe(block="{type: tdb}"),
        REFUSED,
        "  r.yaml:7:19: 'tdb' halves the map and cannot be inserted",
        "    use op: replace with at: {downsample: k}",
    ),
    "activation inserted": (
        recipe(block="{type: silu}"),
        REFUSED,
        "  r.yaml:7:19: 'silu' takes the place of a module and cannot be inserted",
        "    use op: replace",
    ),
    "replacing what changes the shape": (
        recipe("{class: Conv2d}", op="replace"),
        f"{REFUSED} (3 problems)",
        "  r.yaml:6:17: '0' turns 3×64×64 into 16×16×16, and 'hmhsa' keeps the shape",
        "  r.yaml:6:17: '2' turns 16×16×16 into 32×8×8, and 'hmhsa' keeps the shape",
        "  r.yaml:6:17: '4' turns 32×8×8 into 64×4×4, and 'hmhsa' keeps the shape",
        f"    {NARROW}",
    ),
    "removing what changes the shape": (
        recipe("{class: Linear}", "", "remove"),
        REFUSED,
        "  r.yaml:6:17: '9' takes 64 and returns 5: nothing can stand in for it",
        "    narrow with 'exclude'",
    ),
    "no recipe": (
        "",
        UNUSABLE,
        "  r.yaml:1:1: the recipe is empty",
        "    `hmhsa-insert recipes` lists recipes to start from",
    ),
    "not UTF-8": (
        "version: 1\nname: \udcff\n",
        UNUSABLE,
        "  r.yaml:2:7: byte 0xff is not UTF-8 text",
        "    save the file as UTF-8",
    ),
    "a recipe's problems with its plan's": (
        recipe(
            more="    inti: x\n"
            "  - {op: insert, id: b, at: {stage: 4}, block: {type: hmhsa, head_dim: 16}}\n"
            "  - {op: insert, id: c, at: {stage: 3}, block: {type: hmhsa, head_dim: 48}}\n"
            "  - {op: replace, id: d, at: {class: GELU}, block: {type: silu}}\n"
        ),
        f"{UNUSABLE} (4 problems)",
        "  r.yaml:8:5: unknown key 'inti' in an edit",
        "    did you mean 'init'? allowed: at, block, id, init, keep, op, position",
        "  r.yaml:9:37: no stage 4: the network's stages are 1, 2, 3 (strides 4, 8, 16)",
        f"    {STAGES}",
        "  r.yaml:10:72: at '6': head_dim 48 does not divide 64 channels; nearest that do: 32, 64",
        "    head_dim: auto chooses one that does",
        "  r.yaml:11:38: no module of class 'GELU'",
        "    did you mean 'ReLU'?",
    ),
}


@pytest.mark.parametrize("what", RECIPES)
def test_what_is_said_of_a_recipe(here, what: str) -> None:
    text, *report = RECIPES[what]
    (here / "r.yaml").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert error_of(APPLY).splitlines() == report


def test_a_region_that_is_no_whole_modules(here) -> None:
    text = recipe("{downsample: 2}", "{type: tdb}", "replace", "down", more="    keep: none\n")
    (here / "r.yaml").write_text(text)
    assert error_of("apply usernet:Functional -r r.yaml --input-size 64 -o out").splitlines() == [
        REFUSED,
        "  r.yaml:6:22: what lies between 'a' and 'max_pool2d' is not made of whole modules",
        "    use keep: blocks",
    ]


def test_many_problems_alike_are_cut_short(here) -> None:
    (here / "r.yaml").write_text(recipe("{class: Conv2d}", op="replace"))
    lines = error_of("plan resnet50 -r r.yaml --input-size 64").splitlines()
    assert lines[0] == "error: the plan was refused (39 problems)"
    assert lines[-2:] == ["  … and 33 more at this place", f"    {NARROW}"]
    assert len(lines) == 9


def test_recipes_that_are_not_there(here) -> None:
    assert error_of("apply usernet:small -r stag3.yaml -o out").splitlines() == [
        UNUSABLE,
        "  stag3.yaml: no such file, and no shipped recipe of that name",
        "    did you mean 'stage3' or 'stage234'? `hmhsa-insert recipes` lists the shipped ones",
    ]
    (here / "folder").mkdir()
    assert error_of("plan usernet:small -r folder").splitlines() == [
        UNUSABLE,
        "  folder: this is a folder, not a recipe",
        "    name a file inside it",
    ]


def test_an_unusable_recipe_is_reported_before_a_network_is_built(here) -> None:
    (here / "r.yaml").write_text("version: 1\n")
    report = [
        UNUSABLE,
        "  r.yaml:1:1: the recipe has no 'edits'",
        "    `hmhsa-insert recipes` lists recipes to start from",
    ]
    assert error_of("apply usernet:broken -r r.yaml").splitlines() == report
    assert error_of("recipe check r.yaml").splitlines() == report


def test_check_reports_options_without_a_network(here) -> None:
    (here / "r.yaml").write_text(recipe(block="{type: hmhsa, head_dim: x, grids: [0]}", more="    inti: x\n"))
    report = [
        f"{UNUSABLE} (3 problems)",
        "  r.yaml:8:5: unknown key 'inti' in an edit",
        "    did you mean 'init'? allowed: at, block, id, init, keep, op, position",
        "  r.yaml:7:36: 'head_dim' must be 'auto', 'near N' or an integer, found 'x'",
        "  r.yaml:7:47: 'grids[0]' must be 1 or more, found 0",
    ]
    assert error_of("recipe check r.yaml").splitlines() == report
    assert error_of("plan usernet:small -r r.yaml").splitlines() == report
