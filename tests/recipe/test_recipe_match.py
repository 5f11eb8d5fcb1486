"""Globs, block choices and attribute values, against slow and plain references."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmhsa_insert.recipe import Every, any_matches, has_attributes, matches, select_indices
from hmhsa_insert.recipe.match import glob_problem

PARTS = st.text("abl1", min_size=1, max_size=4)
NAMES = st.lists(PARTS, min_size=1, max_size=5).map(".".join)
PATTERN_PARTS = st.one_of(
    st.just("**"), st.just("*"), st.text("ab1*?", min_size=1, max_size=4), st.just("[ab]?*")
)
PATTERNS = st.lists(
    PATTERN_PARTS.filter(lambda part: part == "**" or "**" not in part), min_size=1, max_size=5
)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("layer3.0.conv1", ["layer3.0.conv1"], ["layer3.0.conv10", "layer3x0.conv1", "xlayer3.0.conv1"]),
        ("layer*.conv1", ["layer3.conv1", "layer.conv1"], ["layer3.0.conv1"]),
        ("layer3.*", ["layer3.0"], ["layer3", "layer3.0.conv1"]),
        ("layer3.**", ["layer3.0", "layer3.0.conv1"], ["layer3", "layer31.0"]),
        ("**.conv1", ["conv1", "layer3.conv1", "layer3.0.conv1"], ["layer3.xconv1", "conv1.0"]),
        ("a.**.b", ["a.b", "a.x.b", "a.x.y.b"], ["a", "b", "a.xb", "ab"]),
        ("**", ["a", "a.b"], [""]),
        ("*", ["a"], ["", "a.b"]),
        ("layer[12].?", ["layer1.0", "layer2.9"], ["layer3.0", "layer1.10", "layer12.0"]),
        ("layer[!1-3]", ["layer4"], ["layer1", "layer2", "layer."]),
        ("a[^x]", ["a^", "ax"], ["ab"]),
        ("conv+1(x)", ["conv+1(x)"], ["convv1x"]),
    ],
)
def test_globs_by_example(pattern, yes, no):
    assert [name for name in yes if not matches(pattern, name)] == []
    assert [name for name in no if matches(pattern, name)] == []


def _reference(pattern: list[str], name: list[str]) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "**":
        # Alone at the end it stands for one part or more, before other parts for any number of them.
        least = 1 if all(part == "**" for part in pattern) else 0
        return any(_reference(pattern[1:], name[skip:]) for skip in range(least, len(name) + 1))
    return bool(name) and _part(pattern[0], name[0]) and _reference(pattern[1:], name[1:])


def _part(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(_part(pattern[1:], text[skip:]) for skip in range(len(text) + 1))
    if pattern.startswith("["):
        inside, _, rest = pattern[1:].partition("]")
        return text[:1] != "" and text[0] in inside and _part(rest, text[1:])
    return text != "" and pattern[0] in ("?", text[0]) and _part(pattern[1:], text[1:])


@given(PATTERNS, NAMES)
def test_globs_match_a_slow_reference(parts, name):
    trimmed = [
        part for part, after in zip(parts, [*parts[1:], ""], strict=True) if (part, after) != ("**", "**")
    ]
    assert matches(".".join(parts), name) == _reference(trimmed, name.split("."))


@given(NAMES)
def test_a_name_without_wildcards_matches_itself_only(name):
    assert matches(name, name)
    assert not matches(name, name + "0")
    assert not matches(name, "0." + name)


@given(st.text("ab[]!-*?.^\\&|", max_size=8))
def test_a_glob_has_a_problem_or_matches(pattern):
    problem = glob_problem(pattern)
    if problem:
        with pytest.raises(ValueError, match=re.escape(problem)):
            matches(pattern, "a.b")
    else:
        assert matches(pattern, "a.b") in (True, False)


def test_no_wildcard_takes_long_on_a_long_name():
    assert not matches("*a*a*a*.**.**.**.*a*a*a*.**.x", ".".join(["a" * 12] * 8))


def test_any_matches():
    assert any_matches(["a", "b.*"], "b.c")
    assert not any_matches([], "b.c")


@given(st.integers(0, 40), st.integers(1, 9))
def test_every_kth_block(count, k):
    chosen = select_indices(Every(k), count)
    assert len(chosen) == count // k
    assert all((index + 1) % k == 0 and 0 <= index < count for index in chosen)
    assert select_indices(Every(1), count) == select_indices("each", count)


@given(st.integers(1, 40))
def test_words_choose_blocks(count):
    assert select_indices("each", count) == tuple(range(count))
    assert select_indices("first", count) == (0,) == select_indices((0,), count)
    assert select_indices("last", count) == (count - 1,) == select_indices((-1,), count)


@given(st.lists(st.integers(-12, 12), max_size=6).map(tuple), st.integers(0, 12))
def test_indices_choose_blocks_in_ascending_order_once(indices, count):
    inside = [index for index in indices if -count <= index < count]
    if len(inside) < len(indices):
        with pytest.raises(IndexError):
            select_indices(indices, count)
    else:
        chosen = select_indices(indices, count)
        assert list(chosen) == sorted({list(range(count))[index] for index in indices})


def test_no_blocks_none_chosen():
    assert [select_indices(choice, 0) for choice in ("each", "first", "last", Every(2), ())] == [()] * 5


@pytest.mark.parametrize(
    ("indices", "count", "message"),
    [
        ((6,), 6, "there is no block 6: its blocks are 0 to 5"),
        ((-1,), 0, "there is no block -1: it has none"),
    ],
)
def test_an_index_that_is_not_there(indices, count, message):
    with pytest.raises(IndexError, match=f"^{message}$"):
        select_indices(indices, count)


class _Convolution:
    kernel_size = (3, 3)
    stride = (2, 1)
    groups = 1
    bias = None
    inplace = True
    padding_mode = "zeros"
    weight = object()
    none = ()


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        ({}, True),
        ({"kernel_size": 3}, True),
        ({"kernel_size": (3, 3)}, True),
        ({"kernel_size": (3,)}, False),
        ({"kernel_size": 1}, False),
        ({"stride": 2}, False),
        ({"stride": (2, 1)}, True),
        ({"groups": 1, "bias": None, "padding_mode": "zeros"}, True),
        ({"groups": 1.0}, True),
        ({"groups": True}, False),
        ({"inplace": True}, True),
        ({"inplace": 1}, False),
        ({"weight": 1}, False),
        ({"none": 1}, False),
        ({"dilation": None}, False),
    ],
)
def test_attribute_values(wanted, holds):
    assert has_attributes(_Convolution(), wanted) is holds
