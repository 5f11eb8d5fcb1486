"""What one wrong edit says: every place, message and tip, word for word."""

import pytest

from hmhsa_insert.recipe import parse_text

HEAD = "version: 1\nedits:\n"
BLOCKS = "write block: {type: hmhsa, head_dim: 32}; `hmhsa-insert blocks` lists types and options"
STAGES = "`hmhsa-insert stages MODEL` lists a model's stages"
SCHEMA = "`hmhsa-insert recipe schema` describes every key"


def problems_of(text):
    return [(p.where, p.message, p.tip) for p in parse_text(text, "r.yaml")[1]]


# An edit on line 3 from column 5, the column of its only problem, the problem.
EDITS = [
    ("x", 5, "an edit must be a mapping with 'op', 'id' and 'at', found 'x'", ""),
    (
        "{id: a, at: {stage: 3}, block: {type: x}}",
        5,
        "an edit has no 'op'",
        "say what to do: 'insert', 'replace' or 'remove'",
    ),
    (
        "{op: insert, at: {stage: 3}, block: {type: x}}",
        5,
        "an edit has no 'id'",
        "name it, such as id: attn; new weights are found under this name",
    ),
    (
        "{op: insert, id: a, block: {type: x}}",
        5,
        "an edit has no 'at'",
        "say where, such as at: {stage: 3, block: last}",
    ),
    ("{op: insert, id: a, at: {stage: 3}}", 5, "an edit has no 'block'", BLOCKS),
    (
        "{op: inset, id: a, at: {stage: 3}, block: {type: x}}",
        10,
        "'op' must be 'insert', 'replace' or 'remove', found 'inset'",
        "did you mean 'insert'?",
    ),
    (
        "{op: insert, id: a, at: {stage: 3}, blocks: {type: x}}",
        41,
        "unknown key 'blocks' in an edit",
        "did you mean 'block'? allowed: at, block, id, init, keep, op, position",
    ),
    (
        "{op: insert, id: 1a, at: {stage: 3}, block: {type: x}}",
        22,
        "'id' must be a letter, then letters, digits or underscores, found '1a'",
        "",
    ),
    (
        "{op: insert, id: a.b, at: {stage: 3}, block: {type: x}}",
        22,
        "'id' must be a letter, then letters, digits or underscores, found 'a.b'",
        "",
    ),
    (
        "{op: insert, id: _modules, at: {stage: 3}, block: {type: x}}",
        22,
        "'id' must be a letter, then letters, digits or underscores, found '_modules'",
        "",
    ),
    (
        "{op: insert, id: forward, at: {stage: 3}, block: {type: x}}",
        22,
        "'id' cannot be 'forward': it is a name that modules already have",
        "call it 'forward_block', for example",
    ),
    (
        "{op: insert, id: lambda, at: {stage: 3}, block: {type: x}}",
        22,
        "'id' cannot be 'lambda': it is a word of Python",
        "call it 'lambda_block', for example",
    ),
    (
        "{op: insert, id: a, at: {stage: 3}, block: hmhsa}",
        48,
        "'block' must be a mapping with a 'type', found 'hmhsa'",
        BLOCKS,
    ),
    ("{op: insert, id: a, at: {stage: 3}, block: {head_dim: 3}}", 48, "'block' has no 'type'", BLOCKS),
    (
        "{op: insert, id: a, at: {stage: 3}, block: {type: on, type: no}}",
        59,
        "the key 'type' is given twice, on line 3",
        "keep one of them",
    ),
    (
        "{op: insert, id: a, at: {stage: 3}, block: {type: 3}}",
        55,
        "'type' must be the name of a block, found 3",
        "`hmhsa-insert blocks` lists them",
    ),
    (
        "{op: insert, id: a, at: {stage: 3}, block: {type: x}, init: zero}",
        65,
        "'init' must be 'identity' or 'random', found 'zero'",
        "",
    ),
    (
        "{op: insert, id: a, at: {stage: 3}, block: {type: x}, position: befor}",
        69,
        "'position' must be 'after' or 'before', found 'befor'",
        "did you mean 'before'?",
    ),
    (
        "{op: remove, id: a, at: {class: SE}, block: {type: x}}",
        42,
        "'block' does not go with 'remove': nothing is put in",
        "",
    ),
    (
        "{op: replace, id: a, at: {class: SE}, block: {type: x}, init: random}",
        61,
        "'init' does not go with 'replace'",
        "it goes with 'insert'",
    ),
    (
        "{op: replace, id: a, at: {class: SE}, block: {type: x}, keep: blocks}",
        61,
        "'keep' does not go with 'class'",
        "it goes with 'downsample'",
    ),
    (
        "{op: insert, id: a, at: {downsample: 3}, block: {type: x}}",
        30,
        "'insert' does not take 'downsample'",
        "'insert' takes 'stage', 'stride', 'neck', 'module', 'class' or 'node'",
    ),
    (
        "{op: remove, id: a, at: {stage: 3}}",
        30,
        "'remove' does not take 'stage'",
        "'remove' takes 'module', 'class' or 'node'",
    ),
]

# An insertion's `at` on line 3, from column 29; the column of its only problem, the problem.
SELECTORS = [
    ("stage3", 29, "'at' must be a mapping such as {stage: 3, block: last}, found 'stage3'", SCHEMA),
    (
        "{block: last}",
        29,
        "'at' names no place: it needs 'stage', 'stride', 'neck', 'downsample', 'module', 'class' or 'node'",
        SCHEMA,
    ),
    (
        "{stage: 3, stride: 16}",
        40,
        "'at' names two kinds of place, 'stage' and 'stride'",
        "keep one, and write a second edit for the other",
    ),
    (
        "{stge: 3}",
        30,
        "unknown key 'stge' in 'at'",
        "did you mean 'stage'? allowed: after, block, class, downsample, exclude, expect, in_stage, inside, module, "
        "neck, node, stage, stride, with",
    ),
    (
        "{stage: three}",
        37,
        "'stage' must be an integer from 0 to 7, or a list of them, or 'all', found 'three'",
        STAGES,
    ),
    (
        "{stage: 1e0}",
        37,
        "'stage' must be an integer from 0 to 7, or a list of them, or 'all', found 1.0",
        STAGES,
    ),
    (
        "{stage: 16}",
        37,
        "'stage' must be an integer from 0 to 7, or a list of them, or 'all', found 16",
        f"stride 16 is stage 3: stage k has stride 2^(k+1); {STAGES}",
    ),
    ("{stage: [3, true]}", 41, "'stage' must list integers from 0 to 7, found true", STAGES),
    ("{stage: [3, 3]}", 41, "'stage' lists 3 twice", ""),
    ("{stage: []}", 37, "'stage' lists nothing", ""),
    ("{stride: 0}", 38, "'stride' must be an integer of 1 or more, or a list of them, found 0", STAGES),
    (
        "{stage: 3, block: lst}",
        47,
        "'block' must be 'last', 'first', 'each', {every: k} or a list of indices, found 'lst'",
        "did you mean 'last'?",
    ),
    ("{stage: 3, block: [0, a]}", 51, "'block' must list integers, found 'a'", ""),
    ("{stage: 3, block: {every: 0}}", 55, "'every' must be an integer of 1 or more, found 0", ""),
    (
        "{stage: 3, block: {evry: 2}}",
        48,
        "unknown key 'evry' in 'block'",
        "did you mean 'every'? allowed: every",
    ),
    ("{stage: 3, expect: 0}", 48, "'expect' must be an integer of 1 or more, found 0", ""),
    (
        "{module: 'a..b'}",
        38,
        "'module': 'a..b' is not a glob over module names: it has an empty part",
        "",
    ),
    (
        "{module: 'layer**'}",
        38,
        "'module': 'layer**' is not a glob over module names: "
        "'**' stands for whole parts: write it between dots",
        "",
    ),
    (
        "{module: ['a[1']}",
        39,
        "'module': 'a[1' is not a glob over module names: a '[' is not closed around characters",
        "",
    ),
    (
        "{module: 'a[9-1]'}",
        38,
        "'module': 'a[9-1]' is not a glob over module names: '[9-1]' holds a range that runs backwards",
        "",
    ),
    ("{module: 3}", 38, "'module' must be a glob over module names, or a list of them, found 3", ""),
    (
        "{module: a, block: last}",
        41,
        "'block' does not go with 'module'",
        "it goes with 'stage', 'stride' or 'neck'",
    ),
    (
        "{neck: 0}",
        36,
        "'neck' must be an integer of 1 or more, or a list of them, or 'all', found 0",
        STAGES,
    ),
    ("{class: nn.GE-LU}", 37, "'class': 'nn.GE-LU' is not a class name: write it as nn.GELU or GELU", ""),
    (
        "{node: a.b}",
        36,
        "'node': 'a.b' is not the name of an fx node: fx names hold letters, digits and underscores",
        "",
    ),
    ("{node: a, with: {p: 1}}", 39, "'with' does not go with 'node'", "it goes with 'module' or 'class'"),
    (
        "{class: A, in_stage: all}",
        50,
        "'in_stage' must be an integer from 0 to 7, or a list of them, found 'all'",
        STAGES,
    ),
    (
        "{class: A, with: 3}",
        46,
        "'with' must be a mapping such as {kernel_size: 3, stride: 1}, found 3",
        "",
    ),
    ("{class: A, with: {k-s: 3}}", 47, "'k-s' is not the name of an attribute", ""),
    ("{class: A, with: {p: {q: 1}}}", 50, "'p' must be a value or a list of values, found {q: 1}", ""),
]


@pytest.mark.parametrize(("edit", "column", "message", "tip"), EDITS)
def test_edits(edit, column, message, tip):
    assert problems_of(f"{HEAD}  - {edit}\n") == [(f"r.yaml:3:{column}", message, tip)]


@pytest.mark.parametrize(("at", "column", "message", "tip"), SELECTORS)
def test_selectors(at, column, message, tip):
    edit = f"{{op: insert, id: a, at: {at}, block: {{type: x}}}}"
    assert problems_of(f"{HEAD}  - {edit}\n") == [(f"r.yaml:3:{column}", message, tip)]
