"""What a recipe says when it is wrong: every place, message and tip, word for word."""

import pytest

from hmhsa_insert.errors import RecipeError
from hmhsa_insert.recipe import load_recipe, parse_recipe, parse_text

HEAD = "version: 1\nedits:\n"
GOOD = "  - {op: insert, id: a, at: {stage: 3}, block: {type: hmhsa}}\n"
LIBRARY = "`hmhsa-insert recipes` lists recipes to start from"
BOMB = "\n".join(
    f"{name}: &{name} [{', '.join([below] * 10)}]"
    for name, below in {"a": "x", "b": "*a", "c": "*b", "d": "*c", "e": "*d"}.items()
)


def problems_of(text):
    return [(p.where, p.message, p.tip) for p in parse_text(text, "r.yaml")[1]]


# The text, then the only problem it has.
READING = [
    ("", "1:1", "the recipe is empty", LIBRARY),
    ("# a comment, nothing else\n", "1:1", "the recipe is empty", LIBRARY),
    ("- 1\n", "1:1", "a recipe is a mapping with 'version' and 'edits', found [1]", LIBRARY),
    ("stage3\n", "1:1", "a recipe is a mapping with 'version' and 'edits', found 'stage3'", LIBRARY),
    (HEAD + GOOD + "---\nx: 1\n", "4:1", "a second document starts here, and a file is one document", ""),
    (HEAD + "\t- op: insert\n", "3:1", "a tab stands where YAML wants spaces", "indent with spaces"),
    (
        HEAD + "  - op: insert: x\n",
        "3:15",
        "a ': ' stands where no key can begin",
        "check the indentation and the space after ':' above; quote a value that holds ': '",
    ),
    (
        HEAD + "  - op: insert\n id: a\n",
        "4:2",
        "this line does not continue what is above it",
        "check the indentation, and that items of one list all begin with '- '",
    ),
    (
        HEAD + "  - {op: insert\n",
        "4:1",
        "this is not valid YAML: expected ',' or '}', but got '<stream end>', while parsing a flow mapping "
        "that begins at line 3, column 5",
        "",
    ),
    ("a: *b\n", "1:4", "this is not valid YAML: found undefined alias 'b'", ""),
    (
        "a: &b 1\nc: &b 2\n",
        "2:4",
        "this is not valid YAML: found duplicate anchor 'b'",
        "give each anchor its own name",
    ),
    ('a: "\\UFFFFFFFF"\n', "1:7", "this escape names no character", ""),
    ("a: b\n\x00\n", "2:1", "the character U+0000 is not allowed in YAML", ""),
    ("a: " + "[" * 3000, "1:44", "values are nested more than 40 deep", ""),
    (BOMB, "4:1", "the file holds more than 10,000 values, its aliases followed", ""),
]

# The value of `description`, then its problem.
VALUES = [
    (
        "!!python/object/apply:os.system [ls]",
        "the tag !!python/object/apply:os.system is not allowed: only plain values are read",
    ),
    (
        "!!python/name:os.system",
        "the tag !!python/name:os.system is not allowed: only plain values are read",
    ),
    ("!mine x", "the tag !mine is not allowed: only plain values are read"),
    ("!!binary aGk=", "the tag !!binary is not allowed: only plain values are read"),
    ("!!int x", "'x' does not fit its tag !!int"),
    ("1e999", "1e999 is not a finite number"),
    (".nan", ".nan is not a finite number"),
    ("18446744073709551616", "'18446744073709551616' has too many digits"),
    ('"\\ud800"', "'\\ud800' holds half a character (a lone surrogate)"),
    ("1e-3", "'description' must be text, found 0.001"),
    ("1E5", "'description' must be text, found 100000.0"),
    ("true", "'description' must be text, found true"),
    ("", "'description' must be text, found nothing"),
    ("{a: [1, b]}", "'description' must be text, found {a: [1, 'b']}"),
]

# Text before the edits, then its problem.
TOP = [
    (
        "version: 2\n",
        "1:10",
        "'version' must be 1, found 2",
        "this release reads version 1 of the recipe language",
    ),
    ("version: yes\n", "1:10", "'version' must be 1, found 'yes'", None),
    ("version: true\n", "1:10", "'version' must be 1, found true", None),
    ("", "1:1", "the recipe has no 'version'", "add 'version: 1' at the top"),
    (
        "version: 1\nversion: 1\n",
        "2:1",
        "the key 'version' is given twice, on lines 1 and 2",
        "keep one of them",
    ),
    (
        "version: 1\non: 3\n",
        "2:1",
        "unknown key 'on' in the recipe",
        "allowed: description, edits, name, version",
    ),
    (
        "version: 1\nnmae: x\n",
        "2:1",
        "unknown key 'nmae' in the recipe",
        "did you mean 'name'? allowed: description, edits, name, version",
    ),
    ("version: 1\n3: x\n", "2:1", "a key must be a word, found 3", ""),
    ("version: 1\n? [a]\n: x\n", "2:3", "a key must be a word, found a list or a mapping", ""),
    (
        "version: 1\n<<: {name: x}\n",
        "2:1",
        "the merge key '<<' is not read: it is not part of YAML 1.2",
        "repeat the keys, or alias a whole value",
    ),
    (
        "version: 1\nname: a b\n",
        "2:7",
        "'name' must be a letter or digit, then letters, digits, '.', '_', '+' or '-', found 'a b'",
        "",
    ),
]


@pytest.mark.parametrize(("text", "place", "message", "tip"), READING)
def test_text_that_cannot_be_read(text, place, message, tip):
    assert problems_of(text) == [(f"r.yaml:{place}", message, tip)]


@pytest.mark.parametrize(("value", "message"), VALUES)
def test_values_that_no_recipe_holds(value, message):
    text = f"version: 1\ndescription: {value}\nedits:\n{GOOD}"
    column = 13 if value == "" else 14
    assert problems_of(text) == [(f"r.yaml:2:{column}", message, "")]


@pytest.mark.parametrize(("head", "place", "message", "tip"), TOP)
def test_the_top_of_a_recipe(head, place, message, tip):
    tip = "this release reads version 1 of the recipe language" if tip is None else tip
    assert problems_of(f"{head}edits:\n{GOOD}") == [(f"r.yaml:{place}", message, tip)]


@pytest.mark.parametrize("edits", ["[]", "{}", "three"])
def test_edits_are_a_list(edits):
    found = {"[]": "an empty list", "{}": "{}", "three": "'three'"}[edits]
    message = f"'edits' must be a list of at least one edit, found {found}"
    tip = f"begin each edit with '- op: insert'; {LIBRARY}"
    assert problems_of(f"version: 1\nedits: {edits}\n") == [("r.yaml:2:8", message, tip)]


SEVERAL = """\
version: 1
name: several
edits:
  - op: insert
    id: good
    at: {stage: 3}
    block: {type: hmhsa, head_dim: 32, head_dim: 64}
  - op: insert
    id: second
    at: {stage: 3, block: every}
    blocks: {type: hmhsa}
  - op: remove
    id: good
    at: {class: SE, expct: 1}
  - op: insert
    id: fine
    at: {stage: 4}
    block: {type: hmhsa, lr: 1e-3}
extra: on
"""


def test_all_problems_of_a_file_in_the_order_of_its_lines(tmp_path):
    file = tmp_path / "several.yaml"
    file.write_text(SEVERAL)
    recipe, problems = parse_recipe(file)
    assert [f"{p.where.removeprefix(str(file))} {p.message}" for p in problems] == [
        ":7:40 the key 'head_dim' is given twice, on line 7",
        ":10:27 'block' must be 'last', 'first', 'each', {every: k} or a list of indices, found 'every'",
        ":11:5 unknown key 'blocks' in an edit",
        ":13:9 the id 'good' is taken by another edit",
        ":14:21 unknown key 'expct' in 'at'",
        ":19:1 unknown key 'extra' in the recipe",
    ]
    assert [(edit.id, edit.index, edit.block) for edit in recipe.edits] == [
        ("fine", 3, {"type": "hmhsa", "lr": 0.001})
    ]
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    assert list(caught.value.problems) == problems


def test_an_alias_that_holds_itself():
    text = f"version: 1\ndescription: &x [*x]\nedits:\n{GOOD}"
    assert problems_of(text) == [
        ("r.yaml:2:14", "this alias holds itself", ""),
        ("r.yaml:2:14", "'description' must be text, found […]", ""),
    ]


def test_a_taken_id_says_where_the_first_is():
    text = HEAD + GOOD + GOOD
    assert problems_of(text) == [
        ("r.yaml:4:22", "the id 'a' is taken by another edit", "it is at r.yaml:3:22")
    ]


def test_half_a_character_as_a_key():
    text = HEAD + GOOD.replace("type: hmhsa", r'type: hmhsa, "\uD800": 1')
    message = "a key must be a word: '\\ud800' holds half a character (a lone surrogate)"
    assert [problem[:2] for problem in problems_of(text)] == [("r.yaml:3:62", message)]
