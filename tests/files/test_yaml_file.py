"""Files of YAML that the package writes itself, read back: bounded, in plain values, every problem with its place."""

from pathlib import Path

import pytest
import yaml

from hmhsa_insert.errors import RecipeError
from hmhsa_insert.files.text import CONFIG
from hmhsa_insert.recipe.yaml_text import read_yaml

CASES = Path(__file__).parent / "cases"


def said(path):
    with pytest.raises(RecipeError) as caught:
        read_yaml(path, RecipeError)
    return [(problem.where.removeprefix(str(path)), problem.message) for problem in caught.value.problems]


def test_what_was_dumped_is_read(tmp_path):
    path = tmp_path / "config.yaml"
    value = {
        "model": "timm/resnet18",
        "recipe": {"name": "a b", "edits": [{"at": {"stage": [3, 4]}, "rate": 1e-05}]},
        "on": [True, None, "yes", "2024-01-02", "1:30", "", "ü😀", "~", "1e-3x"],
        "seed": 2**64 - 1,
    }
    path.write_text(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), encoding="utf-8")
    assert read_yaml(path, RecipeError) == value
    path.write_text("")
    assert read_yaml(path, RecipeError) is None


def test_no_word_is_a_date(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: 2024-13-45\nb: 2024-01-02\n")
    assert read_yaml(path, RecipeError) == {"a": "2024-13-45", "b": "2024-01-02"}


# The bytes, then what is said of them.
DAMAGED = [
    (
        (CASES / "run-config-alias-bomb.yaml").read_bytes(),
        ":5:1",
        "the file holds more than 50,000 values, its aliases",
    ),
    ((CASES / "study-not-utf8.yaml").read_bytes(), ":1:1", "byte 0xff is not UTF-8 text"),
    (b"a: " + b"[" * 100_000, ":1:68", "values are nested more than 64 deep"),
    (b"- " * 100_000, ":1:131", "values are nested more than 64 deep"),
    (b"[" + b"[]," * 150_000 + b"]", ":1:299999", "the file holds more than 50,000 values"),
    (b"a: " + b"9" * 5000, ":1:4", "'999999999"),
    (b"a: .inf", ":1:4", ".inf is not a finite number"),
    (b'a: "\\ud800"', ":1:4", "'\\ud800' holds half a character (a lone surrogate)"),
    (
        b"a: !!python/object/apply:os.system [ls]",
        ":1:4",
        "the tag !!python/object/apply:os.system is not allowed",
    ),
    (b"a: \0", ":1:4", "the character U+0000 is not allowed in YAML"),
    (b"#" * (CONFIG.bytes + 1), "", "this file is larger than 8 MiB, the most that is read"),
]


@pytest.mark.parametrize(("data", "place", "message"), DAMAGED, ids=range(len(DAMAGED)))
def test_what_cannot_be_used_is_one_line(data, place, message, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(data)
    ((found, text),) = said(path)
    assert found == place
    assert text.startswith(message)


def test_no_one_reads_a_thousand_problems(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("".join(f"a{number}: .inf\n" for number in range(1000)))
    found = said(path)
    assert len(found) == 101
    assert found[-1] == ("", "and 900 more problems")
