"""Classes by name: one order in every process, stored with the run, matched when it is scored."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures_on_disk import fill, paint, seen
from training_nets import QUICK

from hmhsa_insert.training import evaluate, read_config, read_predictions, train
from hmhsa_insert.training.data import open_data, open_scored
from hmhsa_insert.training.data.matching import matched, read_renaming
from hmhsa_insert.training.names import order, shown
from hmhsa_insert.training.problems import DataError
from hmhsa_insert.training.score import candidate

SETTINGS = QUICK | {"batch_size": 8, "loader": {"workers": 0}}
OPEN = """
import json, sys
from hmhsa_insert.training.data import open_data
data = open_data(sys.argv[1])
names = [data.train.name(i) for i in range(len(data.train))]
print(json.dumps([data.classes, data.fingerprint, data.names_fingerprint, names, data.train.targets.tolist()]))
"""


def _in_processes(root: Path) -> set[str]:
    """Return what processes of different hash seeds say of a folder."""
    said = set()
    for seed in ("0", "1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", OPEN, str(root)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        said.add(done.stdout)
    return said


def test_names_that_are_alike_but_for_case_or_zeros_have_one_order(tmp_path: Path) -> None:
    classes = ["1", "01", "001", "A", "a", "B", "b", "é", "e\u0301", "ﬀ"]
    fill(tmp_path / "train", dict.fromkeys(classes, 2))
    fill(tmp_path / "val", dict.fromkeys(classes, 1))
    (said,) = _in_processes(tmp_path)
    assert json.loads(said)[0] == ["001", "01", "1", "A", "a", "B", "b", *map(shown, ("e\u0301", "é")), "ﬀ"]


def test_the_order_is_that_of_timm_where_that_is_one() -> None:
    from timm.utils.misc import natural_key

    names = [
        "a10",
        "a9",
        "a",
        "a-",
        "a1",
        "aa",
        "10",
        "9",
        "-",
        "a1b2",
        "a1b10",
        "b/0.png",
        "b 1/0.png",
        "b1/x2.png",
    ]
    assert sorted(names, key=order) == sorted(names, key=natural_key)


@given(
    st.lists(
        st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=6), max_size=8, unique=True
    )
)
def test_no_two_names_share_a_place(names: list[str]) -> None:
    assert len({order(name) for name in names}) == len(names)
    assert len({tuple(sorted(each, key=order)) for each in (names, names[::-1])}) == 1


@given(st.lists(st.binary(min_size=1, max_size=4), min_size=2, max_size=2, unique=True))
def test_no_two_names_are_shown_alike(names: list[bytes]) -> None:
    one, other = (shown(os.fsdecode(name)) for name in names)
    assert one != other
    assert one.isprintable()
    one.encode()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"caf\xe9", "caf\\xe9"),
        (b"a\x1b[31mred", "a\\x1b[31mred"),
        (b"two\nlines", "two\\x0alines"),
        (b"a\\b", "a\\\\b"),
        ("\u202etxt.png".encode(), "\\u202etxt.png"),
        ("人".encode(), "人"),
        (b"\xc2\x85", "\\u0085"),
    ],
)
def test_how_names_are_shown(name: bytes, expected: str) -> None:
    assert shown(os.fsdecode(name)) == expected


# Runs


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on cat and dog, dark and bright, which it tells apart."""
    root = tmp_path_factory.mktemp("pets")
    for split, count in (("train", 12), ("val", 5)):
        for name, level in (("cat", 40), ("dog", 210)):
            for index in range(count):
                paint(root / "one" / split / name / f"{index}.png", level)
    settings = SETTINGS | {"epochs": 4}
    result = train("training_nets:plain", str(root / "one"), settings=settings, folder=root / "run")
    assert result.top1 == 100
    return root


def _levels(root: Path, classes: dict[str, int]) -> str:
    for name, level in classes.items():
        for index in range(5):
            paint(root / "val" / name / f"{index}.png", level)
            paint(root / "train" / name / f"{index}.png", level)
    return str(root)


def test_a_run_keeps_the_names_of_its_classes(pets: Path) -> None:
    assert read_config(pets / "run")["data"]["class_names"] == ["cat", "dog"]


def test_other_names_are_refused_with_both_lists(pets: Path, tmp_path: Path) -> None:
    two = _levels(tmp_path / "two", {"canine": 210, "feline": 40})
    with pytest.raises(DataError) as caught:
        evaluate(pets / "run", two, allow_code=True)
    said = str(caught.value)
    assert "'canine', 'feline' it does not know" in said
    assert "data    network\ncanine  cat\nfeline  dog" in said
    three = _levels(tmp_path / "three", {"bird": 210, "cat": 40})
    with pytest.raises(DataError, match=r"'bird' it does not know"):
        evaluate(pets / "run", three, allow_code=True)


def test_a_map_says_which_is_which(pets: Path, tmp_path: Path) -> None:
    two = _levels(tmp_path / "two", {"canine": 210, "feline": 40})
    renamed = {"canine": "dog", "feline": "cat"}
    found = evaluate(pets / "run", two, renamed=renamed, allow_code=True)
    assert (found.top1, found.classes, found.targets.tolist()) == (100.0, ("cat", "dog"), [1] * 5 + [0] * 5)
    assert (
        evaluate(pets / "run", two, renamed={"canine": "cat", "feline": "dog"}, allow_code=True).top1 == 0.0
    )
    with pytest.raises(DataError, match="the data has no class 'kanine'"):
        evaluate(pets / "run", two, renamed={"kanine": "dog"}, allow_code=True)
    with pytest.raises(DataError, match=r"the network has no class 'dgo'.*did you mean 'dog'"):
        evaluate(pets / "run", two, renamed={"canine": "dgo"}, allow_code=True)


def test_a_class_may_have_the_sign_in_its_name(tmp_path: Path) -> None:
    two = open_scored(str(fill(tmp_path, {"a=b": 2, "c": 3})))
    for text, known, targets in (
        ("a=b=cat", ("c", "cat"), [1, 1, 0, 0, 0]),
        ("a=b=x=y", ("c", "x=y"), [1, 1, 0, 0, 0]),
        ("c=x=y", ("x=y", "a=b"), [1, 1, 0, 0, 0]),
    ):
        found = matched(two, known, read_renaming([text]))
        assert (found.classes, found.val.targets.tolist()) == (known, targets)  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["canine", "=dog", "canine=", ""])
def test_a_map_that_is_no_pair(text: str) -> None:
    with pytest.raises(DataError, match="is not a pair of classes"):
        read_renaming([text])


def test_classes_are_matched_by_name_whatever_their_order_or_number(pets: Path, tmp_path: Path) -> None:
    root = tmp_path / "dogs"
    for index in range(4):
        paint(root / "dog" / f"{index}.png", 210)
    what = candidate(pets / "run", str(root), allow_code=True)
    assert what.run.data.classes == ("cat", "dog")
    assert what.run.data.val.targets.tolist() == [1] * 4  # type: ignore[union-attr]
    assert "no pictures of 'cat', which the network knows" in what.run.data.notes
    assert evaluate(pets / "run", str(root), allow_code=True).top1 == 100.0
    data = open_scored(str(root))
    assert matched(data, ("bird", "cat", "dog"), {}).val.targets.tolist() == [2] * 4  # type: ignore[union-attr]


def test_the_artifact_of_a_run_knows_its_classes(pets: Path, tmp_path: Path) -> None:
    from hmhsa_insert.training.scored import Asked, scored_by_model

    two = _levels(tmp_path / "two", {"canine": 210, "feline": 40})
    (pets / "run" / "artifact").mkdir(exist_ok=True)
    with pytest.raises(DataError, match="'canine', 'feline' it does not know"):
        scored_by_model(str(pets / "run" / "artifact"), Asked(two, None, (), {}))
    scored = scored_by_model("resnet18", Asked(two, None, (), {}))
    assert "the network does not say what its classes are called: matched by order" in scored.data.notes
    with pytest.raises(DataError, match="nothing says what the classes of this network are called"):
        scored_by_model("resnet18", Asked(two, None, (), {"canine": "dog"}))


def test_what_was_trained_on_is_known(pets: Path, tmp_path: Path) -> None:
    assert candidate(pets / "run", allow_code=True).unseen
    assert not candidate(
        pets / "run", _levels(tmp_path / "other", {"cat": 40, "dog": 210}), allow_code=True
    ).unseen


def test_a_folder_without_splits_is_scored_whole_but_for_what_its_run_was_trained_on(tmp_path: Path) -> None:
    whole = fill(tmp_path / "set", {"a": 12, "b": 12})
    train("training_nets:plain", str(whole), settings=SETTINGS, folder=tmp_path / "run")
    again = candidate(tmp_path / "run", str(whole), allow_code=True)
    assert (len(again.run.data.val), again.unseen) == (3, True)
    other = fill(tmp_path / "other", {"a": 7, "b": 5})
    found = candidate(tmp_path / "run", str(other), allow_code=True)
    assert (len(found.run.data.val), found.unseen) == (12, False)
    # Held out otherwise, or as a split of its own, the same pictures are some that it was trained on.
    half = candidate(tmp_path / "run", overrides=["loader.val_share=0.5"], allow_code=True)
    assert (len(half.run.data.val), half.unseen) == (12, False)
    assert any("val_share was 0.1 in training" in note for note in half.run.data.notes)
    assert not candidate(
        tmp_path / "run", str(whole), overrides=["loader.val_share=0.5"], allow_code=True
    ).unseen
    shutil.copytree(whole, tmp_path / "again" / "val")
    copied = candidate(tmp_path / "run", str(tmp_path / "again"), allow_code=True)
    assert (len(copied.run.data.val), copied.unseen) == (24, False)
    paint(whole / "a" / "0.png", 200)
    changed = candidate(tmp_path / "run", allow_code=True)
    assert not changed.unseen
    assert any("not those of the run any more" in note for note in changed.run.data.notes)


# Odd names, to the end of a run


@pytest.mark.parametrize(
    "odd",
    [
        b"caf\xe9",
        b"\x1b[31mred\x1b[0m",
        b"two\nlines",
        b"x" * 250,
        "人 ü\u202e".encode(),
        b"a,b;\"c'",
        b"-o=x",
    ],
)
def test_classes_and_files_of_any_name_are_trained_and_written(tmp_path: Path, odd: bytes) -> None:
    name = os.fsdecode(odd)
    for split, count in (("train", 8), ("val", 3)):
        for index in range(count):
            paint(tmp_path / "set" / split / "dog" / f"{index}.png", 200)
            paint(tmp_path / "set" / split / name / f"{name[:240]}{index}.png", 60)
    run = tmp_path / "run"
    train("training_nets:plain", str(tmp_path / "set"), settings=SETTINGS, folder=run)
    guard = (
        "'" if name.startswith("-") else ""
    )  # in a CSV, before what a spreadsheet would take for a formula
    table = read_predictions(run)
    assert set(table["image"]) == {
        *(f"dog/{i}.png" for i in range(3)),
        *(f"{guard}{shown(name)}/{shown(name[:240])}{i}.png" for i in range(3)),
    }
    assert shown(name) in read_config(run)["data"]["class_names"]
    found = evaluate(run, allow_code=True)
    assert shown(name) in found.classes
    assert "\x1b" not in str([*found.classes, *seen(open_data(str(tmp_path / "set")).train)])


def test_a_damaged_picture_of_an_odd_name_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "set", {f"{split}/{name}": 8 for split in ("train", "val") for name in ("a", "b")})
    (tmp_path / "set" / "train" / "a" / os.fsdecode(b"bad\xe9\x1b.png")).write_bytes(b"")
    settings: dict[str, Any] = SETTINGS | {"batch_size": 17}
    result = train("training_nets:plain", str(tmp_path / "set"), settings=settings, folder=tmp_path / "run")
    assert result.damaged == ("a/bad\\xe9\\x1b.png",)
