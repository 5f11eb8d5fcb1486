"""The recipes that ship, and the JSON Schema."""

import jsonschema
import pytest

from hmhsa_insert.recipe import find_recipe, json_schema, load_recipe, shipped_recipes

NAMES = [
    "bottleneck",
    "every_block",
    "gelu",
    "se",
    "silu",
    "stage234",
    "stage3",
    "tdb",
    "transcnn",
]
SHIPPED = {recipe.name: recipe for recipe in shipped_recipes()}
GOOD = {"op": "insert", "id": "a", "at": {"stage": 3}, "block": {"type": "hmhsa", "head_dim": 32}}


def test_what_ships():
    assert list(SHIPPED) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe(name):
    shipped = SHIPPED[name]
    lines = shipped.path.read_text(encoding="utf-8").splitlines()
    comment = lines[: lines.index("version: 1")]
    assert all(line.startswith("#") for line in comment)
    for word in ("# Why: ", "# Cost lever: ", "# What to change: "):
        assert sum(line.startswith(word) for line in comment) == 1
    assert shipped.intent.endswith(".")
    assert comment[0] == f"# {shipped.intent}"
    assert max(map(len, lines)) <= 120
    recipe = load_recipe(name)
    assert recipe.name == name
    assert find_recipe(f"{name}.yaml") == find_recipe(name) == shipped.path
    jsonschema.Draft202012Validator(json_schema()).validate(recipe.to_dict())


def test_transcnn_is_the_released_configuration():
    recipe = load_recipe("transcnn")
    *attention, tdb = recipe.edits
    stages = [(e.at.numbers[0], e.block["grid_size"], e.block["pool"], e.init, e.position) for e in attention]
    assert stages == [
        (1, 8, 8, "random", "before"),
        (2, 8, 4, "random", "before"),
        (3, 8, 2, "random", "before"),
        (4, 1, 1, "random", "before"),
    ]
    assert all(
        e.at.block == "each" and e.block["norm"] == "batch" and e.block["head_dim"] == "near 64"
        for e in attention
    )
    assert (tdb.op, tdb.at.numbers, tdb.keep) == ("replace", (2, 3, 4), "none")


def test_an_install_without_recipes_ships_none(tmp_path, monkeypatch):
    monkeypatch.setattr("hmhsa_insert.recipe.library._PACKAGE", tmp_path / "hmhsa_insert")
    assert shipped_recipes() == []


def test_a_wheel_carries_recipes_inside_the_package(tmp_path, monkeypatch):
    inside = tmp_path / "hmhsa_insert" / "_recipes"
    inside.mkdir(parents=True)
    (inside / "mine.yaml").write_text("# Mine,\n# in two lines.\n#\n# Why: not.\nversion: 1\n")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "foreign.yaml").write_text("")
    monkeypatch.setattr("hmhsa_insert.recipe.library._PACKAGE", tmp_path / "hmhsa_insert")
    assert [(recipe.name, recipe.intent) for recipe in shipped_recipes()] == [("mine", "Mine, in two lines.")]


def schema_takes(edit, blocks=None):
    schema = json_schema(blocks)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema).is_valid({"version": 1, "edits": [edit]})


@pytest.mark.parametrize(
    "change",
    [
        {"op": "inset"},
        {"id": "1a"},
        {"id": None},
        {"at": {}},
        {"at": {"stage": 3, "stride": 16}},
        {"at": {"stage": 16}},
        {"at": {"stage": []}},
        {"at": {"stage": 3, "block": {"every": 0}}},
        {"at": {"module": "a", "block": "last"}},
        {"at": {"node": "a", "with": {"p": 1}}},
        {"at": {"downsample": 3}},
        {"keep": "none"},
        {"init": "zero"},
        {"block": {}},
        {"blocks": {}},
        {"op": "remove", "at": {"class": "SE"}},
        {"op": "replace", "at": {"class": "SE"}, "keep": "blocks"},
        {"op": "replace", "at": {"downsample": 3}, "init": "random"},
    ],
)
def test_the_json_schema_refuses(change):
    assert schema_takes(GOOD)
    assert not schema_takes(GOOD | change)


def test_the_json_schema_knows_block_options():
    blocks = {
        "hmhsa": {"properties": {"head_dim": {"type": "integer"}}, "additionalProperties": False},
        "timm/*": {"properties": {"rd_ratio": {"type": "number"}}},
    }

    def takes(**block):
        return schema_takes(GOOD | {"block": block}, blocks)

    assert takes(type="hmhsa", head_dim=32)
    assert takes(type="timm/se", rd_ratio=0.25)
    assert not takes(type="hmhsa", head_dim="x")
    assert not takes(type="hmhsa", heads=3)
    assert not takes(type="timm/se", rd_ratio="x")
    assert not takes(type="timm/")
    assert not takes(type="hmsa")


def test_every_key_is_described():
    schema = json_schema()
    parts = [schema, schema["$defs"]["edit"], schema["$defs"]["selector"]]
    described = [value["description"] for part in parts for value in part["properties"].values()]
    assert all(text.endswith(".") for text in described)
