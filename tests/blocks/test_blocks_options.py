"""Every message about a block's options, word for word."""

import pytest

from hmhsa_insert.blocks import (
    BLOCKS,
    MapSize,
    OptionProblem,
    block_type,
    build_block,
    parse_options,
    refusals,
)
from hmhsa_insert.errors import BlockError, Problem

NAMES = (
    "hmhsa, hmhsa_pooled, mhsa, transformer, irb, transcnn, tdb, downsample, silu, gelu, relu, hard_swish, "
    "placebo, matched"
)

BAD = [
    ({}, ("type",), "a block needs a type", f"one of {NAMES}, or timm/NAME"),
    ({"type": 3}, ("type",), "type must be a block's name, not 3", f"one of {NAMES}, or timm/NAME"),
    (
        {"type": "hmsa"},
        ("type",),
        "there is no block type 'hmsa'",
        "did you mean 'hmhsa', 'mhsa' or 'hmhsa_pooled'?",
    ),
    ({"type": "zzz"}, ("type",), "there is no block type 'zzz'", "`hmhsa-insert blocks` lists them"),
    (
        {"type": "timm/cbma"},
        ("type",),
        "there is no block type 'timm/cbma'",
        "did you mean 'timm/cbam', 'timm/lcbam' or 'timm/xca'?",
    ),
    (
        {"type": "hmhsa", "hed_dim": 3},
        ("hed_dim",),
        "unknown key 'hed_dim' in the options of hmhsa",
        "did you mean 'head_dim'? allowed: grids, head_dim, last, memory, norm, qkv_bias, type, upsample, width",
    ),
    (
        {"type": "hmhsa_pooled", "zzz": 2},
        ("zzz",),
        "unknown key 'zzz' in the options of hmhsa_pooled",
        "allowed: drop, grid_size, head_dim, memory, norm, pool, type, width",
    ),
    (
        {"type": "silu", "inplace": True},
        ("inplace",),
        "unknown key 'inplace' in the options of silu",
        "allowed: type",
    ),
    (
        {"type": "hmhsa", "head_dim": "64"},
        ("head_dim",),
        "'head_dim' must be 'auto', 'near N' or an integer, found '64'",
        "write 64 without quotes",
    ),
    ({"type": "mhsa", "head_dim": 6.5}, ("head_dim",), "'head_dim' must be an integer, found 6.5", ""),
    ({"type": "mhsa", "head_dim": True}, ("head_dim",), "'head_dim' must be an integer, found true", ""),
    (
        {"type": "mhsa", "head_dim": None},
        ("head_dim",),
        "'head_dim' must be an integer, found nothing",
        "",
    ),
    ({"type": "mhsa", "width": [64]}, ("width",), "'width' must be an integer, found [64]", ""),
    ({"type": "mhsa", "width": {"a": 1}}, ("width",), "'width' must be an integer, found {a: 1}", ""),
    ({"type": "mhsa", "head_dim": 0}, ("head_dim",), "'head_dim' must be 1 or more, found 0", ""),
    (
        {"type": "mhsa", "qkv_bias": "yes"},
        ("qkv_bias",),
        "'qkv_bias' must be true or false, found 'yes'",
        "",
    ),
    (
        {"type": "transformer", "drop_path": "1e-3"},
        ("drop_path",),
        "'drop_path' must be a number, found '1e-3'",
        "write 0.001: YAML reads 1e-3 as text",
    ),
    (
        {"type": "transformer", "drop_path": "1e999999"},
        ("drop_path",),
        "'drop_path' must be a number, found '1e999999'",
        "",
    ),
    (
        {"type": "transformer", "drop_path": "nan"},
        ("drop_path",),
        "'drop_path' must be a number, found 'nan'",
        "",
    ),
    (
        {"type": "transformer", "drop_path": float("nan")},
        ("drop_path",),
        "'drop_path' must be a finite number, found nan",
        "",
    ),
    ({"type": "silu", 1: 2}, (1,), "unknown key '1' in the options of silu", "allowed: type"),
    ({"type": "transcnn", "drop_path": 1}, ("drop_path",), "'drop_path' must be less than 1, found 1", ""),
    ({"type": "transcnn", "drop": -0.5}, ("drop",), "'drop' must be 0 or more, found -0.5", ""),
    (
        {"type": "hmhsa", "norm": "grup"},
        ("norm",),
        "'norm' must be 'group', 'batch' or 'none', found 'grup'",
        "did you mean 'group'?",
    ),
    ({"type": "hmhsa", "norm": 1}, ("norm",), "'norm' must be 'group', 'batch' or 'none', found 1", ""),
    (
        {"type": "hmhsa", "grids": "atuo"},
        ("grids",),
        "'grids' must be 'auto' or a list of integers, found 'atuo'",
        "did you mean 'auto'?",
    ),
    (
        {"type": "hmhsa", "grids": 7},
        ("grids",),
        "'grids' must be 'auto' or a list of integers, found 7",
        "",
    ),
    ({"type": "hmhsa", "grids": []}, ("grids",), "'grids' must not be empty, found []", ""),
    ({"type": "hmhsa", "grids": [8, 0]}, ("grids", 1), "'grids[1]' must be 1 or more, found 0", ""),
    (
        {"type": "hmhsa", "grids": ["a", 7]},
        ("grids", 0),
        "'grids[0]' must be an integer, found 'a'",
        "",
    ),
    (
        {"type": "irb", "kernel_size": 4},
        ("kernel_size",),
        "'kernel_size' must be odd, so that the map keeps its size, found 4",
        "",
    ),
    (
        {"type": "timm/se", "rd_ratoi": 0.1},
        ("rd_ratoi",),
        "unknown key 'rd_ratoi' in the options of timm/se",
        "did you mean 'rd_ratio'? allowed: add_maxpool, bias, gate_layer, rd_channels, rd_divisor, rd_ratio, type",
    ),
    ({"type": "timm/se", "bias": 1}, ("bias",), "'bias' must be true or false, found 1", ""),
]


@pytest.mark.parametrize(("spec", "key", "message", "tip"), BAD, ids=[bad[2][:40] for bad in BAD])
def test_message(spec, key, message, tip):
    options, problems = parse_options(spec)
    assert options is None
    assert problems == [OptionProblem(key, message, tip)]


def test_all_problems_at_once():
    spec = {"type": "hmhsa", "head_dim": "a", "grids": [0, "b"], "norm": "x", "foo": 1, "last": 2}
    options, problems = parse_options(spec)
    assert options is None
    assert {problem.key for problem in problems} == {
        ("head_dim",),
        ("grids", 0),
        ("grids", 1),
        ("norm",),
        ("foo",),
        ("last",),
    }


@pytest.mark.parametrize("name", BLOCKS)
def test_defaults_are_valid_and_described(name):
    options, problems = parse_options({"type": name})
    assert not problems
    assert options.type == name
    for field, info in type(options).model_fields.items():
        assert field == "type" or info.description, field
    assert BLOCKS[name].summary


def test_options_are_immutable_and_comparable():
    first, _ = parse_options({"type": "hmhsa", "grids": [8, 7]})
    second, _ = parse_options({"type": "hmhsa", "grids": (8, 7)})
    assert first == second
    assert first.grids == (8, 7)
    with pytest.raises(ValueError, match="frozen"):
        first.head_dim = 3


REFUSED = [
    (
        {"type": "hmhsa", "head_dim": 48},
        128,
        "head_dim 48 does not divide 128 channels; nearest that do: 32, 64",
    ),
    ({"type": "mhsa", "head_dim": 100}, 64, "head_dim 100 does not divide 64 channels; nearest that do: 64"),
    (
        {"type": "hmhsa_pooled", "head_dim": 64, "width": 96},
        128,
        "head_dim 64 does not divide width 96; nearest that do: 48, 96",
    ),
    (
        {"type": "transformer", "head_dim": 7},
        16,
        "head_dim 7 does not divide 16 channels; nearest that do: 4, 8",
    ),
    ({"type": "transcnn", "head_dim": 2}, 3, "head_dim 2 does not divide 3 channels; nearest that do: 1, 3"),
]


@pytest.mark.parametrize(("spec", "channels", "message"), REFUSED, ids=[str(r[0]) for r in REFUSED])
def test_refusals(spec, channels, message):
    options, _ = parse_options(spec)
    inp = MapSize(channels, 14, 14)
    tip = "head_dim: auto chooses one that does"
    assert refusals(options, inp, channels) == [OptionProblem(("head_dim",), message, tip)]
    with pytest.raises(BlockError) as error:
        build_block(spec, channels, 14)
    assert error.value.problems == (Problem("head_dim", message, tip),)


def test_same_blocks_refuse_other_channels_and_all_reasons_come_together():
    options, _ = parse_options({"type": "hmhsa", "head_dim": 48})
    problems = refusals(options, MapSize(128, 14, 14), 256)
    assert problems[0] == OptionProblem(
        ("type",), "hmhsa keeps the channels: it cannot turn 128 into 256", "tdb and downsample can"
    )
    assert [problem.key for problem in problems] == [("type",), ("head_dim",)]
    for name in ("tdb", "downsample"):
        options, _ = parse_options({"type": name})
        assert refusals(options, MapSize(128, 14, 14), 256) == []


def test_auto_grids_need_the_size():
    with pytest.raises(BlockError) as error:
        build_block({"type": "hmhsa"}, 64)
    problem = Problem(
        "grids", "grids: auto is chosen from the size of the map", "pass size, or a list of grids"
    )
    assert error.value.problems == (problem,)
    assert build_block({"type": "hmhsa"}, 64, 28).grids == (7, 4)
    assert build_block({"type": "hmhsa"}, 64, (28, 56)).grids == (7, 8)
    assert build_block({"type": "hmhsa", "grids": [4, 7]}, 64).grids == (4, 7)


def test_build_block_reports_every_problem():
    with pytest.raises(BlockError) as error:
        build_block({"type": "irb", "kernel_size": 2, "expansion": 0, "foo": 1}, 64)
    assert [problem.where for problem in error.value.problems] == ["expansion", "kernel_size", "foo"]


def test_block_type_names_the_nearest():
    with pytest.raises(BlockError, match=r"no block type 'downsampel' \(did you mean 'downsample'\?\)"):
        block_type("downsampel")


def test_a_block_beyond_all_memory_is_refused():
    with pytest.raises(BlockError, match="hmhsa at 64×14×14 is too large to build"):
        build_block({"type": "hmhsa", "head_dim": 32, "width": 10**11 // 32 * 32}, 64, size=14)
