"""Any recipe, written and read again, is the same recipe, and the JSON Schema takes it."""

import keyword

import jsonschema
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hmhsa_insert.recipe import json_schema, load_recipe, parse_text, read_selector
from hmhsa_insert.recipe.schema import OPS, RESERVED_IDS
from hmhsa_insert.recipe.selectors.table import kinds_of

CHECK = jsonschema.Draft202012Validator(json_schema())

# Words that YAML 1.1 or 1.2 reads as something else come up as often as other text.
TRAPS = st.sampled_from(
    ["on", "no", "y", "1e-3", "1:30", "0x1F", "0o7", "~", "null", "<<", "=", "2024-01-01", "- a", ""]
)
TEXTS = st.one_of(TRAPS, st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
PROSE = st.one_of(TEXTS, st.text("ab :#'\"\n\\-", max_size=300), st.text("ab  \n\x85\u2028é", max_size=300))
NUMBERS = st.one_of(st.integers(-(10**17), 10**17), st.floats(allow_nan=False, allow_infinity=False))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda values: st.one_of(st.lists(values, max_size=3), st.dictionaries(TEXTS, values, max_size=3)),
    max_leaves=5,
)
IDENTIFIERS = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,9}", fullmatch=True)
IDS = IDENTIFIERS.filter(lambda name: name not in RESERVED_IDS and not keyword.iskeyword(name))
GLOBS = st.lists(
    st.sampled_from(["**", "*", "layer[1-3]", "conv?", "0", "on", "1e3"]), min_size=1, max_size=4
).map(".".join)


def several(items):
    return st.lists(items, min_size=1, max_size=3, unique=True)


def one_or_several(items):
    return st.one_of(items, several(items))


STAGES = one_or_several(st.integers(0, 7))
BLOCK_CHOICES = st.one_of(
    st.sampled_from(["last", "first", "each", "every: 3"]),
    st.builds(lambda k: {"every": k}, st.integers(1, 9)),
    one_or_several(st.integers(-9, 9)),
)
PLACES = {
    "stage": st.one_of(STAGES, st.just("all")),
    "stride": one_or_several(st.integers(1, 64)),
    "neck": st.one_of(one_or_several(st.integers(1, 64)), st.just("all")),
    "downsample": one_or_several(st.integers(1, 7)),
    "module": one_or_several(GLOBS),
    "class": one_or_several(st.one_of(IDENTIFIERS, IDENTIFIERS.map(lambda name: f"nn.{name}"))),
    "node": one_or_several(IDENTIFIERS),
}
WANTED = st.dictionaries(
    IDENTIFIERS, st.one_of(SCALARS, st.lists(SCALARS, min_size=1, max_size=2)), max_size=2
)


COMMON = {"exclude": one_or_several(GLOBS), "expect": st.integers(1, 99)}
NARROWING = {
    kind: st.fixed_dictionaries(
        {kind: place},
        optional=COMMON
        | ({"block": BLOCK_CHOICES} if kind in ("stage", "stride", "neck") else {})
        | ({"in_stage": STAGES, "with": WANTED} if kind in ("module", "class") else {}),
    )
    for kind, place in PLACES.items()
}
BLOCKS = st.builds(
    lambda options, name: options | {"type": name},
    st.dictionaries(TEXTS, VALUES, max_size=3),
    TEXTS.filter(bool),
)
INSERTING = {
    "init": st.sampled_from(["identity", "random"]),
    "position": st.sampled_from(["after", "before"]),
}
KEEPING = {"keep": st.sampled_from(["none", "blocks"])}


def edits_of(op, kind):
    block = {} if op == "remove" else {"block": BLOCKS}
    optional = INSERTING if op == "insert" else KEEPING if kind == "downsample" else {}
    return st.fixed_dictionaries(
        {"op": st.just(op), "id": IDS, "at": NARROWING[kind], **block}, optional=optional
    )


EDITS = st.one_of([edits_of(op, kind) for op in OPS for kind in kinds_of(op)])
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,20}", fullmatch=True)
RECIPES = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "edits": st.lists(EDITS, min_size=1, max_size=3, unique_by=lambda edit: edit["id"]),
    },
    optional={"name": NAMES, "description": PROSE},
)


@settings(max_examples=150, deadline=None)
@given(RECIPES)
def test_written_and_read_again(plain):
    CHECK.validate(plain)
    recipe = load_recipe(plain)
    text = recipe.dump()
    again, problems = parse_text(text, "again.yaml")
    assert problems == []
    assert again == recipe
    assert again.dump() == text
    assert load_recipe(recipe.to_dict()) == recipe
    CHECK.validate(recipe.to_dict())


@settings(max_examples=100, deadline=None)
@given(RECIPES)
def test_other_yaml_readers_agree_on_what_is_written(plain):
    recipe = load_recipe(plain)
    assert yaml.safe_load(recipe.dump()) == recipe.to_dict()


def test_the_canonical_form():
    recipe = load_recipe(
        {
            "version": 1,
            "name": "ours",
            "edits": [
                {
                    "op": "insert",
                    "at": {"block": {"every": 2}, "stage": [3]},
                    "id": "a",
                    "block": {"type": "x", "on": "no"},
                },
                {
                    "op": "replace",
                    "id": "b",
                    "at": {"downsample": (2, 3)},
                    "block": {"lr": 1e-5, "type": "tdb"},
                },
                {
                    "op": "remove",
                    "id": "c",
                    "at": {"class": ["nn.SE", "SE"], "with": {"k": (1, 3)}, "expect": 2},
                },
            ],
        }
    )
    assert (
        recipe.dump()
        == """\
version: 1
name: ours
edits:
- op: insert
  id: a
  at: {stage: 3, block: {every: 2}}
  block: {type: x, 'on': 'no'}
  init: identity
  position: after
- op: replace
  id: b
  at: {downsample: [2, 3]}
  block: {lr: 1.0e-05, type: tdb}
  keep: none
- op: remove
  id: c
  at: {class: SE, expect: 2, with: {k: [1, 3]}}
"""
    )


def test_equal_recipes_say_the_same_wherever_they_lie():
    text = "version: 1\nname: a\nedits: [{op: insert, id: a, at: {stage: 3}, block: {type: x}}]\n"
    one, _ = parse_text(text, "one.yaml")
    other, _ = parse_text("# moved\n" + text, "other.yaml")
    assert one == other
    assert one != parse_text(text.replace("stage: 3", "stage: 4"), "one.yaml")[0]
    last, every = ({"stage": 3, "block": block} for block in ("last", {"every": 1}))
    assert one.edits[0].at == read_selector(last) != read_selector(every)
