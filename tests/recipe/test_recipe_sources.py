"""Where recipes come from, and that no file and no text does more than be read."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmhsa_insert.errors import RecipeError
from hmhsa_insert.inert import visible
from hmhsa_insert.recipe import find_recipe, load_recipe, parse_recipe, parse_text
from hmhsa_insert.recipe.schema import RESERVED_IDS

TEXT = """\
version: 1
name: ours
edits:
  - {op: insert, id: attn, at: {stage: 3}, block: {type: hmhsa}}
"""


@pytest.mark.parametrize(
    ("file", "name"),
    [("my net.yaml", "my-net"), ("x.y.yml", "x.y"), ("--.yaml", "recipe"), ("größe.yaml", "gr-e")],
)
def test_a_recipe_without_a_name_has_its_files(file, name):
    assert parse_text(TEXT.replace("name: ours\n", ""), f"folder/{file}")[0].name == name


def test_a_path_goes_before_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_recipe("stage3.yaml").parent.name in ("recipes", "_recipes")
    (tmp_path / "stage3.yaml").write_text(TEXT)
    assert load_recipe("stage3.yaml").name == "ours"
    assert load_recipe("stage3").name == "stage3"


@pytest.mark.parametrize(
    ("name", "message", "tip"),
    [
        ("stage33", "no such file, and no shipped recipe of that name", "did you mean 'stage3'"),
        ("x/stage3.yml", "no such file, and no shipped recipe of that name", "did you mean 'stage3'"),
        (
            "zzz",
            "no such file, and no shipped recipe of that name",
            "`hmhsa-insert recipes` lists the shipped ones",
        ),
        (
            "",
            "no such file, and no shipped recipe of that name",
            "`hmhsa-insert recipes` lists the shipped ones",
        ),
        (
            "a\0b",
            "no such file, and no shipped recipe of that name",
            "`hmhsa-insert recipes` lists the shipped ones",
        ),
        (".", "this is a folder, not a recipe", "name a file inside it"),
    ],
)
def test_recipes_that_are_not_found(name, message, tip):
    with pytest.raises(RecipeError) as caught:
        find_recipe(name)
    (problem,) = caught.value.problems
    assert (problem.where, problem.message) == (visible(name), message)
    assert problem.tip.startswith(tip)
    recipe, problems = parse_recipe(name)
    assert (recipe.edits, problems) == ((), [problem])


def test_text_is_no_path():
    with pytest.raises(
        RecipeError, match=r"^a recipe's text was given as its path \(pass a path, a shipped name"
    ):
        load_recipe(TEXT)


def test_a_folder_does_not_hide_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stage3").mkdir()
    assert load_recipe("stage3").name == "stage3"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"version: 1\nname: caf\xe9\n", ":2:10: byte 0xe9 is not UTF-8 text (save the file as UTF-8)"),
        ("version: 1".encode("utf-16"), ":1:1: byte 0xff is not UTF-8 text (save the file as UTF-8)"),
        (b"#" * (2**20 + 1), ": this file is larger than 1 MiB, the most that is read"),
    ],
)
def test_files_that_hold_no_text(tmp_path, data, message):
    file = tmp_path / "r.yaml"
    file.write_bytes(data)
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    assert str(caught.value) == f"{file}{message}"


def test_a_file_that_cannot_be_opened(tmp_path, monkeypatch):
    file = tmp_path / "r.yaml"
    file.write_text(TEXT)

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(RecipeError, match=r"r\.yaml: cannot be read: Permission denied$"):
        load_recipe(file)


def test_a_tag_runs_nothing(tmp_path):
    witness = tmp_path / "ran"
    file = tmp_path / "r.yaml"
    file.write_text(f"version: !!python/object/apply:os.mkdir ['{witness}']\n")
    _, problems = parse_recipe(file)
    assert "python/object/apply:os.mkdir" in problems[-1].message
    assert not witness.exists()


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab:-{}[]&*!|>'\"%@#,?~ \n\t\\xU019.<\0\ufeff\x85é"), max_size=40))
def test_no_text_raises(text):
    recipe, problems = parse_text(text, "r.yaml")
    assert recipe.edits == ()
    assert problems
    assert all(problem.where.startswith("r.yaml:") for problem in problems)


PIECES = [
    "op",
    "insert",
    "remove",
    "id",
    "a",
    "at",
    "stage",
    "3",
    "all",
    "block",
    "{",
    "}",
    "[",
    "]",
    ": ",
    ", ",
    "1e-3",
]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([*PIECES, "class", "with", "every", "type", "null", "true", "-1"]), max_size=30)
)
def test_no_edit_raises(pieces):
    recipe, problems = parse_text("version: 1\nedits:\n  - {" + "".join(pieces) + "}\n", "r.yaml")
    assert bool(recipe.edits) != bool(problems)


def test_reading_imports_no_torch():
    code = (
        "import sys; from hmhsa_insert.recipe import load_recipe, json_schema; "
        "load_recipe('stage3'); json_schema(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_reserved_ids_hold_every_public_name_of_a_module():
    import torch

    names = {name for name in dir(torch.nn.Module()) if not name.startswith("_")}
    assert names - RESERVED_IDS == set()
