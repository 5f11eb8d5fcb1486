"""What a right recipe means: words, defaults, places, in a file and in a dict."""

import pytest

from hmhsa_insert.recipe import Every, load_recipe, parse_recipe, parse_text, read_selector

TEXT = """\
# what it is for
version: 1
name: ours
edits:
  - op: insert
    id: attn
    at: {stage: 3}
    block:
      type: hmhsa
      grids: [2, 7]
  - {op: replace, id: tdb, at: {downsample: [2, 4]}, block: {type: tdb}}
  - {op: remove, id: no_se, at: {class: nn.SE, in_stage: 3, with: {p: 0.5, k: [1, 3]}, exclude: 'a.*'}}
"""


def read(text):
    recipe, problems = parse_text(text, "ours.yaml")
    assert problems == []
    return recipe


def one_block(options):
    edit = f"{{op: insert, id: a, at: {{stage: 3}}, block: {{type: x, {options}}}}}"
    block = read(f"version: 1\nedits:\n  - {edit}\n").edits[0].block
    return {key: value for key, value in block.items() if key != "type"}


def test_a_recipe():
    recipe = read(TEXT)
    insert, replace, remove = recipe.edits
    assert (recipe.version, recipe.name, recipe.description, recipe.source) == (1, "ours", "", "ours.yaml")
    assert (insert.op, insert.id, insert.init, insert.position) == ("insert", "attn", "identity", "after")
    assert (insert.at.kind, insert.at.numbers, insert.at.block) == ("stage", (3,), "last")
    assert insert.block == {"type": "hmhsa", "grids": [2, 7]}
    assert list(insert.to_dict()) == ["op", "id", "at", "block", "init", "position"]
    assert list(replace.to_dict()) == ["op", "id", "at", "block", "keep"]
    assert (replace.keep, replace.at.kind, replace.at.numbers) == ("none", "downsample", (2, 4))
    assert list(remove.to_dict()) == ["op", "id", "at"]
    assert remove.at.kind == "class"
    assert dict(remove.at) == {
        "names": ("SE",),
        "in_stage": (3,),
        "with_": {"p": 0.5, "k": (1, 3)},
        "exclude": ("a.*",),
        "expect": None,
    }


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("lr: 1e-3", 0.001),
        ("lr: 1E5", 100000.0),
        ("lr: -1.5e+2", -150.0),
        ("lr: .5", 0.5),
        ("lr: 1.", 1.0),
        ("lr: !!float 3", 3.0),
        ("n: 010", 10),
        ("n: 0x1F", 31),
        ("n: 0o17", 15),
        ("n: +7", 7),
        ("n: 1_000", "1_000"),
        ("n: 1:30", "1:30"),
        ("n: 0b11", "0b11"),
        ("day: 2024-01-01", "2024-01-01"),
        ("flag: on", "on"),
        ("flag: off", "off"),
        ("flag: yes", "yes"),
        ("flag: No", "No"),
        ("flag: y", "y"),
        ("flag: true", True),
        ("flag: False", False),
        ("flag: 'true'", "true"),
        ("flag: !!str true", "true"),
        ("none: null", None),
        ("none: ~", None),
        ("none: ", None),
        ("off: e", "e"),
        ("value: =", "="),
    ],
)
def test_words_mean_what_yaml_1_2_says(option, value):
    read_value = one_block(option)[option.partition(":")[0]]
    assert (read_value, type(read_value)) == (value, type(value))


def test_aliases_are_followed():
    text = "version: 1\nedits:\n  - {op: insert, id: a, at: {stage: 3}, block: &b {type: x}}\n"
    recipe = read(f"{text}  - {{op: insert, id: b, at: {{stage: 4}}, block: *b}}\n")
    assert recipe.edits[0].block == recipe.edits[1].block == {"type": "x"}


@pytest.mark.parametrize(
    ("block", "choice"),
    [
        ("first", "first"),
        ("each", "each"),
        ("{every: 2}", Every(2)),
        ("'every: 3'", Every(3)),
        ("[0, -1]", (0, -1)),
        ("2", (2,)),
    ],
)
def test_block_choices(block, choice):
    edit = f"{{op: insert, id: a, at: {{stride: [4, 8], block: {block}}}, block: {{type: x}}}}"
    at = read(f"version: 1\nedits:\n  - {edit}\n").edits[0].at
    assert (at.kind, at.numbers, at.block) == ("stride", (4, 8), choice)


def test_what_a_selector_picks():
    class GELU:
        approximate = "none"

    by_class = read_selector({"class": "GELU", "exclude": "head.**", "with": {"approximate": "none"}})
    assert by_class.picks("stages.0.act", GELU())
    assert not by_class.picks("head.act", GELU())
    assert not by_class.picks("stages.0.act", object())
    by_name = read_selector({"module": "stages.*.act", "with": {"approximate": "tanh"}})
    assert not by_name.picks("stages.0.act", GELU())
    assert read_selector({"module": "stages.*.act"}).picks("stages.0.act", GELU())


@pytest.mark.parametrize(
    ("path", "value_at", "key_at"),
    [
        ((), "2:1", "2:1"),
        (("version",), "2:10", "2:1"),
        (("edits",), "5:3", "4:1"),
        (("edits", 0), "5:5", "5:5"),
        (("edits", 0, "at", "stage"), "7:17", "7:10"),
        (("edits", 0, "block"), "9:7", "8:5"),
        (("edits", 0, "block", "type"), "9:13", "9:7"),
        (("edits", 0, "block", "grids", 1), "10:18", "10:18"),
        (("edits", 2, "at", "with", "p"), "12:71", "12:68"),
        (("edits", 0, "block", "head_dim"), "9:7", "8:5"),
        (("edits", 7, "block", "head_dim"), "5:3", "4:1"),
    ],
)
def test_places_in_a_file(path, value_at, key_at):
    recipe = read(TEXT)
    assert recipe.where(path) == f"ours.yaml:{value_at}"
    assert recipe.where(path, key=True) == f"ours.yaml:{key_at}"


def test_places_survive_windows_line_ends_and_a_byte_order_mark(tmp_path):
    file = tmp_path / "w.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    recipe = load_recipe(file)
    assert recipe == read(TEXT)
    assert recipe.where(("version",), key=True) == f"{file}:2:1"
    assert recipe.where((*recipe.edits[1].path, "id")) == f"{file}:11:23"


def test_places_in_a_dict():
    recipe = load_recipe(read(TEXT).to_dict())
    assert recipe == read(TEXT)
    assert recipe.source == "recipe"
    assert recipe.where((*recipe.edits[0].path, "block", "type")) == "recipe.edits[0].block.type"
    assert recipe.where(("edits", 0, "block", "head_dim")) == "recipe.edits[0].block"
    assert recipe.where(()) == "recipe"


def test_problems_of_a_dict():
    block = {"type": "x", "f": print, 3: 4, "g": 1e400}
    edit = {"op": "insert", "id": "a", "at": {"stage": (3, 9)}, "block": block}
    _, problems = parse_recipe({"version": 1, "edits": [edit, {"op": "remove"}], "description": 3})
    assert [f"{p.where}: {p.message}" for p in problems] == [
        "recipe.edits[0].block.f: a recipe holds plain values only, found a builtin_function_or_method",
        "recipe.edits[0].block: a key must be a word, found 3",
        "recipe.edits[0].block.g: inf is not a finite number",
        "recipe.description: 'description' must be text, found 3",
        "recipe.edits[0].at.stage[1]: 'stage' must list integers from 0 to 7, found 9",
        "recipe.edits[1]: an edit has no 'id'",
        "recipe.edits[1]: an edit has no 'at'",
    ]


def test_a_dict_without_end():
    endless = []
    endless.append(endless)
    _, problems = parse_recipe({"version": 1, "edits": endless})
    assert [str(problem) for problem in problems] == ["recipe.edits: values are nested more than 40 deep"]
    _, problems = parse_recipe({"version": 1, "edits": [0] * 10_000})
    assert [str(problem) for problem in problems] == ["recipe: the recipe holds more than 10,000 values"]


def test_a_dict_is_copied():
    given = {"version": 1, "edits": [{"op": "insert", "id": "a", "at": {"stage": 3}, "block": {"type": "x"}}]}
    recipe = load_recipe(given)
    given["edits"][0]["block"]["type"] = "y"
    assert recipe.name == "recipe"
    assert recipe.edits[0].block == {"type": "x"}
