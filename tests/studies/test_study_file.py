"""Study files: short forms, axes with typed values, and every problem at once with its place."""

from pathlib import Path
from typing import Any

import pytest
from study_nets import study

from hmhsa_insert.recipe.canonical import dump_plain
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.study_file import Study, load_study

HEAD = """# What it asks.
#
# More.
version: 1
models: [resnet10t]
data: digits
seeds: 3
settings: digits
"""
ATTN = "{op: insert, id: attn, at: {stage: 3}, block: {type: hmhsa, head_dim: 16}}"


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def _load(tmp_path: Path, variants: str, head: str = HEAD) -> Study:
    return load_study(_file(tmp_path, f"{head}variants:\n{variants}"))


def _problems(tmp_path: Path, text: str) -> list[str]:
    path = _file(tmp_path, text)
    with pytest.raises(StudyError) as caught:
        load_study(path)
    return [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]


def _blocks(made: Study) -> dict[str, Any]:
    return {
        variant.label: None if variant.recipe is None else variant.recipe.edits[0].block
        for variant in made.variants
    }


def test_short_forms_are_written_out(tmp_path: Path) -> None:
    made = _load(tmp_path, "  plain:\n  se: se.yaml\n")
    assert (made.name, made.intent, made.baseline) == ("mine", "What it asks.", "plain")
    assert {label: entry.model for label, entry in made.models.items()} == {"resnet10t": "resnet10t"}
    assert (made.data, made.seeds, made.threads, made.cpus) == (("digits",), (0, 1, 2), 1, 1.0)
    assert made.settings["digits"].epochs == 4
    assert [variant.label for variant in made.variants] == ["plain", "se"]
    assert made.variants[1].recipe is not None
    assert made.variants[1].recipe.name == "se"


def test_axes_are_a_grid_of_typed_values(tmp_path: Path) -> None:
    axes = (
        "{attn.at.stage: [2, [3, 4]], attn.block.head_dim: {small: 16, large: 32}, attn.position: [before]}"
    )
    made = _load(tmp_path, f"  plain:\n  hmhsa:\n    edits: [{ATTN}]\n    axes: {axes}\n")
    labels = [variant.label for variant in made.variants]
    assert labels == [
        "plain",
        "hmhsa stage=2 head_dim=small position=before",
        "hmhsa stage=2 head_dim=large position=before",
        "hmhsa stage=[3, 4] head_dim=small position=before",
        "hmhsa stage=[3, 4] head_dim=large position=before",
    ]
    edits = [variant.recipe.edits[0] for variant in made.variants[1:] if variant.recipe]
    assert [edit.at.numbers for edit in edits] == [(2,), (2,), (3, 4), (3, 4)]
    assert [edit.block["head_dim"] for edit in edits if edit.block] == [16, 32, 16, 32]
    assert {edit.position for edit in edits} == {"before"}


def test_a_whole_block_may_be_an_axis_and_controls_take_its_place(tmp_path: Path) -> None:
    axes = "{attn.block: {mhsa: {type: mhsa, head_dim: 16}, se: {type: timm/se}}}"
    made = _load(
        tmp_path, f"  plain:\n  b:\n    edits: [{ATTN}]\n    axes: {axes}\n    controls: [placebo, matched]\n"
    )
    mhsa, se = {"type": "mhsa", "head_dim": 16}, {"type": "timm/se"}
    assert _blocks(made) == {
        "plain": None,
        "b block=mhsa": mhsa,
        "b block=mhsa placebo": {"type": "placebo", "of": mhsa},
        "b block=mhsa matched": {"type": "matched", "of": mhsa},
        "b block=se": se,
        "b block=se placebo": {"type": "placebo", "of": se},
        "b block=se matched": {"type": "matched", "of": se},
    }


def test_settings_are_put_over_their_base(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("epochs: 9\nbatch_size: 8\noptimizer: {lr: 0.5, momentum: 0.1}\n")
    head = HEAD.replace(
        "settings: digits", "settings: {a: {base: own.yaml, epochs: 2, optimizer: {lr: 1e-3}}, b: digits}"
    )
    made = _load(tmp_path, "  plain:\n", head)
    a = made.settings["a"]
    assert (a.epochs, a.batch_size, a.optimizer.lr, a.optimizer.momentum) == (2, 8, 1e-3, 0.1)
    assert made.settings["b"].batch_size == 32


def test_recipes_lie_beside_the_study_first(tmp_path: Path) -> None:
    (tmp_path / "se.yaml").write_text(f"version: 1\nname: my-own\nedits: [{ATTN}]\n")
    made = _load(tmp_path, "  plain:\n  se: se.yaml\n")
    assert made.variants[1].recipe is not None
    assert made.variants[1].recipe.name == "my-own"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 1\n", ["1:1: the study has no 'models'", "1:1: the study has no 'variants'"]),
        (
            f"{HEAD}variants:\n  plain:\nepoch: 3\n",
            ["11:1: unknown key 'epoch' in the study (allowed: baseline"],
        ),
        (
            f"{HEAD}variants:\n  a: {{recipe: stage3.yaml, axis: 1}}\n",
            ["10:28: unknown key 'axis' in 'a' (did you"],
        ),
        (f"{HEAD}variants:\n  plain:\n  plain:\n", ["11:3: the key 'plain' is given twice"]),
        (
            HEAD.replace("seeds: 3", "seeds: [1, 1]") + "variants:\n  plain:\n",
            ["7:12: 'seeds' lists 1 twice"],
        ),
        (
            HEAD.replace("seeds: 3", "seeds: 3\ncpus: 1.0e+300") + "variants:\n  plain:\n",
            ["8:7: 'cpus' must be at most 65536"],
        ),
        (
            HEAD.replace("seeds: 3", "seeds: many") + "variants:\n  plain:\n",
            ["7:8: 'seeds' must be a list"],
        ),
        (
            HEAD.replace("digits\n", "digit\n", 1) + "variants:\n  a: stage33.yaml\n",
            ["10:6: stage33.yaml: no such"],
        ),
        (
            f"{HEAD}variants:\n  a:\n  b:\n",
            ["9:1: 2 variants are plain networks, so the baseline has to be named"],
        ),
        (f"{HEAD}variants:\n  a:\nbaseline: b\n", ["11:11: there is no variant 'b'"]),
        (f"{HEAD}variants:\n  a: {{controls: [placebo]}}\n", ["10:7: 'controls' goes with a recipe"]),
        (
            f"{HEAD}variants:\n  p:\n  a:\n    edits: [{ATTN}]\n    axes: {{atn.at.stage: [1], attn.a.b: [1]}}\n",
            [
                "13:12: the axis 'atn.at.stage' names no edit of the recipe (did you mean 'attn'?",
                "13:31: the axis",
            ],
        ),
        (
            f"{HEAD}variants:\n  p:\n  a:\n    edits: [{ATTN}]\n    axes: {{attn.at.stage: [3, x]}}\n",
            ["13:31: 'stage' must be"],
        ),
        (
            HEAD.replace("settings: digits", "settings: {a: {base: digits, epochs: 0, optimiser: 1}}")
            + "variants:\n  plain:\n",
            ["8:38: 'epochs' must be greater than 0", "8:41: unknown key 'optimiser'"],
        ),
        (
            HEAD.replace("settings: digits", "settings: {a: {base: digit}}") + "variants:\n  plain:\n",
            ["8:22: digit: no such file, and no shipped settings of that name (did you mean 'digits'?"],
        ),
    ],
)
def test_problems_have_places(tmp_path: Path, text: str, expected: list[str]) -> None:
    found = _problems(tmp_path, text)
    for each in expected:
        assert any(problem.startswith(each) for problem in found), (each, found)


def test_problems_of_variants_settings_and_seeds_come_together(tmp_path: Path) -> None:
    text = (
        HEAD.replace("seeds: 3", "seeds: [1, 1]").replace(
            "settings: digits", "settings: {a: {base: digits, epochs: 0}}"
        )
        + f"variants:\n  p:\n  a:\n    edits: [{ATTN}]\n    axes: {{attn.at.stag: [3]}}\n"
    )
    found = _problems(tmp_path, text.replace("version: 1\n", "version: 1\nepoch: 3\n"))
    assert [each.split(":")[0] for each in found] == ["5", "8", "14", "9"]


def test_a_study_of_another_kind_is_refused(tmp_path: Path) -> None:
    for source in (tmp_path / "none.yaml", tmp_path, "wher"):
        with pytest.raises(StudyError):
            load_study(source)
    with pytest.raises(StudyError, match=r"study\.seeds: 'seeds' must be"):
        load_study(study(seeds="two"))


def test_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    assert _problems(tmp_path, "models: [a\n")[0].startswith("2:1:")
    assert _problems(tmp_path, "- 1\n")[0].startswith(
        "1:1: a study is a mapping with 'models' and more, found [1]"
    )
    assert "empty" in _problems(tmp_path, "")[0]


def test_the_file_that_a_study_keeps_asks_the_same_without_other_files(tmp_path: Path) -> None:
    (tmp_path / "attn.yaml").write_text(f"version: 1\nname: mine\nedits:\n- {ATTN}\n")
    (tmp_path / "quick.yaml").write_text("version: 1\nepochs: 3\nbatch_size: 60\ninput_size: 16\n")
    path = _file(
        tmp_path,
        """# What does it do?
version: 1
models: resnet10t
data: digits
seeds: 2
settings: {quick: {base: quick.yaml, epochs: 5}, short: {base: digits, epochs: 1}}
variants:
  plain:
  attn: {recipe: attn.yaml, axes: {attn.at.stage: [2, 3]}, controls: [placebo]}
  se: {edits: [{op: insert, id: s, at: {stage: 3}, block: {type: timm/se}}]}
""",
    )
    first = load_study(path)
    assert "recipe" not in first.asked["variants"]["attn"]
    assert first.asked["settings"]["short"] == {"base": "digits", "epochs": 1}
    alone = tmp_path / "alone" / "again.yaml"
    alone.parent.mkdir()
    alone.write_text(dump_plain(first.asked))
    again = load_study(alone)
    for name in ("name", "intent", "models", "baseline", "settings", "data", "seeds", "exclude", "asked"):
        assert getattr(again, name) == getattr(first, name), name
    told = [
        [(v.label, v.recipe and v.recipe.to_dict(), v.control, v.of) for v in study.variants]
        for study in (first, again)
    ]
    assert told[0] == told[1]
    assert ("attn stage=3 placebo", "placebo", "attn stage=3") in [(v[0], *v[2:]) for v in told[0]]
