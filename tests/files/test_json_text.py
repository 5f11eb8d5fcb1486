"""The reader of JSON: what it returns, and one line for everything else, in bounded time and memory."""

import json

import pytest

from hmhsa_insert.errors import ArtifactError
from hmhsa_insert.files.json_text import parse_json, read_json, read_json_mapping
from hmhsa_insert.files.text import RECORD, FileLimits


def said(call, *args, **kwargs):
    with pytest.raises(ArtifactError) as caught:
        call(*args, ArtifactError, **kwargs)
    (problem,) = caught.value.problems
    return problem.where, problem.message


VALUES = [
    None,
    [],
    {"a": [1, -2.5e-3, "ü 😀 \\ud800", True, None, {"b": {}}]},
    [2**64 - 1, 1 - 2**64, 1e308],
    "[" * 100_000,
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_what_was_written_is_read(value, tmp_path):
    path = tmp_path / "x.json"
    for text in (
        json.dumps(value),
        json.dumps(value, ensure_ascii=False, indent=1),
        "\ufeff" + json.dumps(value),
    ):
        path.write_text(text, encoding="utf-8")
        assert read_json(path, ArtifactError) == value


# The text, the place in it, the message.
DAMAGED = [
    ("", "x:1:1", "it is damaged: it is empty"),
    (" \n", "x:2:1", "it is damaged: it is empty"),
    ("{", "x:1:2", "it is damaged: expecting property name enclosed in double quotes"),
    ('{\n"a" 1}', "x:2:5", "it is damaged: expecting ':' delimiter"),
    ("[1] [2]", "x:1:5", "it is damaged: extra data"),
    ("\0", "x:1:1", "it is damaged: expecting value"),
    ("[" * 100_000, "x", "it is damaged: values are nested more than 64 deep"),
    ('{"a":' * 100_000, "x", "it is damaged: values are nested more than 64 deep"),
    ("[" * 65 + "]" * 65, "x", "it is damaged: values are nested more than 64 deep"),
    ("[" + "9" * 5000 + "]", "x", "it is damaged: the number 999999999999… of 5000 digits is too large"),
    ("-18446744073709551616", "x", "it is damaged: the number -18446744073… of 20 digits is too large"),
    ("[1e400]", "x", "it is damaged: the number 1e400… is too large"),
    ("1" + "0" * 400 + ".0", "x", "it is damaged: the number 100000000000… is too large"),
    ("[NaN]", "x", "it is damaged: NaN is not a finite number"),
    ("-Infinity", "x", "it is damaged: -Infinity is not a finite number"),
    ('{"a": 1,\n"\\ud800": 2}', "x:2:2", "it is damaged: '\\ud800' is half a character (a lone surrogate)"),
    ('"\\ud83d\\ude00\\udc00"', "x:1:14", "it is damaged: '\\udc00' is half a character (a lone surrogate)"),
    ('{"a": {"b": 1, "b": 2}}', "x", "it is damaged: the key 'b' is given twice"),
]


@pytest.mark.parametrize(("text", "place", "message"), DAMAGED, ids=range(len(DAMAGED)))
def test_what_cannot_be_used_is_one_line(text, place, message):
    assert said(parse_json, text, "x") == (place, message)


def test_sixty_four_levels_are_read():
    value = parse_json("[" * 64 + "]" * 64, "x", ArtifactError)
    for _ in range(64):
        assert isinstance(value, list)
        value = value[0] if value else None
    assert value is None


def test_values_are_counted_before_they_are_made():
    few = FileLimits(1000, 5, 64)
    assert parse_json('[1, 2, 3, 4, ",,,,,,,,[[{{\\",,,"]', "x", ArtifactError, few)[:2] == [1, 2]
    message = "it is damaged: it holds more than 5 values"
    assert said(parse_json, "[1, 2, 3, 4, 5, 6]", "x", limits=few) == ("x", message)
    assert said(parse_json, "[{}, {}, {}]", "x", limits=few) == ("x", message)


def test_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "x.json"
    assert said(read_json, path) == (str(path), "cannot be read: No such file or directory")
    assert said(read_json, tmp_path) == (str(tmp_path), "cannot be read: Is a directory")
    path.write_bytes(b'{"a":\n "\xff"}')
    assert said(read_json, path) == (f"{path}:2:3", "byte 0xff is not UTF-8 text")
    path.write_bytes(b"[" + b" " * RECORD.bytes)
    assert said(read_json, path) == (str(path), "this file is larger than 16 MiB, the most that is read")


@pytest.mark.parametrize(
    ("text", "kind"), [("null", "null"), ("[]", "a list"), ("1", "a single value"), ('"a"', "text")]
)
def test_a_mapping_is_asked_for(text, kind, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(text)
    assert said(read_json_mapping, path) == (str(path), f"it is damaged: it holds {kind}, not a mapping")
