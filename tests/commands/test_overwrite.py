"""Folders and files of users are never removed or written over, whatever the command and its options."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import error_of, listing, output, run
from test_shared_options import commands

import hmhsa_insert as hi
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.store import commit, forget, trial_folder, write_study

AGAIN = "apply test_resnet -r good.yaml --input-size 64 -o u --overwrite"


def _with(files: dict[str, str]) -> Callable[[], None]:
    """Return what puts files into an artifact of ours."""

    def change() -> None:
        for name, text in files.items():
            path = Path("u") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return change


def _without_list() -> None:
    Path("u/manifest.json").unlink()


def _theirs(files: dict[str, str]) -> Callable[[], None]:
    """Return what makes a folder of a user's."""

    def make() -> None:
        shutil.rmtree("u")
        Path("u").mkdir()
        _with(files)()

    return make


def _link_to_thesis() -> None:
    Path("thesis.tex").write_text("ten years")
    os.symlink("../thesis.tex", "u/thesis.tex")


def _folder_is_a_link() -> None:
    os.rename("u", "elsewhere")
    os.symlink("elsewhere", "u")


def _list_of_a_stranger() -> None:
    listed = json.loads(Path("u/manifest.json").read_text())
    listed["files"] |= {"thesis.tex": "0" * 64, "../good.yaml": "0" * 64}
    _with({"manifest.json": json.dumps(listed), "thesis.tex": "ten years"})()


def _both(*changes: Callable[[], None]) -> Callable[[], None]:
    def change() -> None:
        for each in changes:
            each()

    return change


ARTIFACT = "it also holds what this package did not write, or not like this: "
NONE = "it exists and is not an artifact ({})"
NO_PLAN, NO_BASE = NONE.format("it has no plan.json"), NONE.format("it has no base.json")
_PLAN, _BASE = '{"format": "A4", "week": 3}', '{"house": "brick"}'
_NAMES = {"recipe.yaml": "eggs: 3", "recipe-2.yaml": "flour", "model.safetensors": "mine", "base.json": _BASE}
# What a user has, made from an artifact of ours at u, and what is said of it.
FOLDERS: dict[str, tuple[Callable[[], None], str]] = {
    "a thesis beside an empty plan": (_theirs({"plan.json": "{}", "thesis.tex": "ten years"}), NO_BASE),
    "a plan of another program": (_theirs({"plan.json": '{"week": 3}'}), NO_BASE),
    "a web page with a manifest": (
        _theirs({"manifest.json": '{"name": "page"}', "index.html": "<p>"}),
        NO_PLAN,
    ),
    "a file added": (_with({"notes.txt": "mine"}), f"{ARTIFACT}notes.txt"),
    "a hidden file added": (_with({".env": "KEY=1"}), f"{ARTIFACT}.env"),
    "files in folders": (_with({"runs/a.csv": "1", "runs/b.csv": "2"}), f"{ARTIFACT}runs/a.csv, runs/b.csv"),
    "an empty folder": (lambda: Path("u/figures").mkdir(), f"{ARTIFACT}figures/"),
    "a README written anew": (_with({"README.md": "# My findings\n"}), f"{ARTIFACT}README.md"),
    "a recipe changed": (_with({"recipe.yaml": "version: 1\n"}), f"{ARTIFACT}recipe.yaml"),
    "a link": (_link_to_thesis, f"{ARTIFACT}thesis.tex"),
    "the folder is a link": (_folder_is_a_link, NONE.format("it is a link")),
    "a list that lies": (_list_of_a_stranger, f"{ARTIFACT}thesis.tex"),
    "a list that is damaged": (_with({"manifest.json": "[" * 100_000}), f"{ARTIFACT}manifest.json"),
    "an old artifact and a file": (_both(_without_list, _with({"n.txt": ""})), f"{ARTIFACT}n.txt"),
    "an old artifact and a folder": (
        _both(_without_list, _with({"old/plan.json": ""})),
        f"{ARTIFACT}old/plan.json",
    ),
    "an old artifact, their README": (
        _both(_without_list, _with({"README.md": "# My findings\n"})),
        f"{ARTIFACT}README.md",
    ),
    "names that are ours": (
        _theirs({"plan.json": _PLAN, **_NAMES}),
        NONE.format("plan.json: it has format A4, and this release reads format 1"),
    ),
    "a plan of ours, a base of another program": (
        _both(_without_list, _with({"base.json": _BASE})),
        NONE.format("base.json: it does not name its network and versions"),
    ),
    "a list of another program": (
        _with({"manifest.json": '{"files": {"a.txt": "0"}}'}),
        f"{ARTIFACT}manifest.json",
    ),
    "an old artifact, a recipe that it has not": (
        _both(_without_list, lambda: shutil.copy("u/recipe.yaml", "u/recipe-2.yaml")),
        f"{ARTIFACT}recipe-2.yaml",
    ),
    "an old artifact, its recipe changed": (
        _both(_without_list, _with({"recipe.yaml": "version: 1\n"})),
        f"{ARTIFACT}recipe.yaml",
    ),
    "an old artifact, weights that are none": (
        _both(_without_list, _with({"model.safetensors": "my weights"})),
        f"{ARTIFACT}model.safetensors",
    ),
    "an old artifact, a detector's file": (
        _both(_without_list, _with({"detector.json": "{}"})),
        f"{ARTIFACT}detector.json",
    ),
    "many files": (_with({f"{n}.csv": "" for n in range(9)}), "0.csv, 1.csv, 2.csv, 3.csv, 4.csv and 4 more"),
}


@pytest.fixture
def u(here: Path, made: Path) -> Path:
    """Return an artifact of ours, to be changed."""
    shutil.copytree(made / "library", here / "u")
    return here / "u"


@pytest.mark.parametrize("what", FOLDERS)
def test_overwrite_leaves_what_is_not_ours(u: Path, what: str) -> None:
    change, said = FOLDERS[what]
    change()
    assert said in error_of(AGAIN)  # which sees that nothing has changed
    other = error_of(AGAIN.replace(" --overwrite", ""))
    assert said in other or "an artifact is here already" in other


@pytest.mark.parametrize("is_old", [False, True])
def test_what_is_ours_is_replaced(u: Path, is_old: bool) -> None:
    if is_old:
        _without_list()
    before = (u / "model.safetensors").read_bytes()
    output(f"{AGAIN} --seed 3")
    assert (u / "model.safetensors").read_bytes() != before
    assert sorted(json.loads((u / "manifest.json").read_text())["files"]) == [
        *("README.md", "base.json", "model.safetensors", "plan.json", "recipe.yaml")
    ]
    assert sorted(path.name for path in u.parent.iterdir() if path.name.startswith(".")) == []
    hi.load(u)


def test_an_old_artifact_opens(u: Path) -> None:
    _without_list()
    hi.load(u)
    assert "stage 3" in output("stages u")


def test_a_file_that_comes_while_we_write_is_kept(u: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hmhsa_insert.surgery.artifact import folder

    write = folder.write_manifest

    def slow(target: Path) -> None:
        (u / "thesis.tex").write_text("ten years")
        write(target)

    monkeypatch.setattr(folder, "write_manifest", slow)
    result = run(AGAIN)
    assert f"{ARTIFACT}thesis.tex" in result.stderr
    assert (u / "thesis.tex").read_text() == "ten years"


# Commands that write folders, and a user's folder at u that none of them may touch.
WRITERS = {
    "train test_resnet --data digits -o u": {
        "config.yaml": "title: My blog\n",
        ".owner": "me",
        "a.md": "post",
    },
    "train test_resnet --data digits --config digits -o u": {"metrics.csv": "a,b\n"},
    "data make-shapes u --images 2": {".keep": ""},
    "data convert shapes --to yolo -o u": {"data.yaml": "mine"},
    "detect library image.png -o u": {"photo.png": ""},
    "segment library image.png -o u": {"photo.png": ""},
    "suggest test_resnet --input-size 64 --max-macs +900% -o u": {"hmhsa-s1-1of1.yaml": "mine"},
    "zoo --filter test_resnet --report u/table.md": {"table.csv": "my,own\n1,2\n"},
    "zoo --filter test_resnet --report u/table.csv": {"table.md": "# Dinner\n"},
    "evaluate library --data digits --confusion u": {"x": ""},
    "report --published -o u": {"x": ""},
    "profile test_resnet -o u": {"x": ""},
}


@pytest.mark.parametrize(
    "line", [pytest.param(line, marks=pytest.mark.long) if "suggest" in line else line for line in WRITERS]
)
def test_no_command_writes_into_a_folder_of_a_user(u: Path, made: Path, line: str) -> None:
    _theirs(WRITERS[line])()
    shutil.copytree(made / "library", "library")
    before = listing(u)
    result = run(line)
    assert result.exit_code != 0 or line.startswith("suggest"), result.output
    after = listing(u)
    assert {name: after.get(name) for name in before} == before
    assert after == before or line.startswith("suggest")


def test_shapes_leave_a_folder_with_the_name_that_they_are_written_under(here: Path) -> None:
    pytest.importorskip("pycocotools")
    Path(".writing-shapes").mkdir()
    Path(".writing-shapes/thesis.tex").write_text("ten years")
    assert run("data make-shapes shapes --images 2 --size 32").exit_code == 0
    assert Path(".writing-shapes/thesis.tex").read_text() == "ten years"
    assert sorted(path.name for path in here.iterdir() if path.name.startswith(".")) == [".writing-shapes"]


@pytest.mark.parametrize(
    "files",
    [
        {"trials/x/thesis.tex": "ten years"},
        {"trials": "mine"},
        {"trials/thesis.tex": "ten years"},
        {"study.json": '{"kind": "survey"}'},
        {"a": ""},
    ],
)
def test_a_study_begins_in_no_folder_of_a_user(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    before = listing(tmp_path)
    with pytest.raises(StudyError, match=r"holds no study|is not a study's file"):
        write_study(tmp_path, {"kind": "study", "version": 1, "name": "mine"})
    assert listing(tmp_path) == before


def test_a_study_goes_on_that_was_stopped_before_its_first_file(tmp_path: Path) -> None:
    (tmp_path / "trials" / "x").mkdir(parents=True)
    (
        tmp_path / "trials" / "x" / "best.safetensors"
    ).touch()  # of a trial that ran on when the folder was removed
    (tmp_path / ".writing-x").write_text("half")
    write_study(tmp_path, {"kind": "study", "version": 1, "name": "mine"})
    assert json.loads((tmp_path / "study.json").read_text())["name"] == "mine"


def test_a_trial_is_forgotten_without_what_a_user_put_there(tmp_path: Path) -> None:
    row = {"id": "0123456789abcdef", "status": "failed"}
    folder = trial_folder(tmp_path, row["id"])
    commit(tmp_path, row)
    for name in ("config.yaml", "checkpoints/update-000000003/model.bin", ".lock", "metrics.jsonl"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("ours")
    (folder / "notes.txt").write_text("mine")
    before = listing(tmp_path)
    with pytest.raises(StudyError, match=r"it also holds what no trial writes: notes\.txt"):
        forget(tmp_path, row["id"])
    assert listing(tmp_path) == before
    (folder / "notes.txt").unlink()
    forget(tmp_path, row["id"])
    assert not folder.exists()


SUGGEST = "suggest usernet:small --input-size 64 --block hmhsa --max-macs +70% -o s"


@pytest.mark.parametrize(
    ("line", "place", "there"),
    [
        (SUGGEST, "s/hmhsa-s3-last.yaml", "it exists already"),
        ("data make-shapes s --images 5 --size 64", "s/annotations/instances_val.json", "s: "),
        ("data convert shapes --to yolo -o s", "s/labels/val/000001.txt", "s: "),
    ],
)
def test_what_a_command_wrote_is_replaced_with_overwrite_and_nothing_else(
    here: Path, line: str, place: str, there: str
) -> None:
    run("data make-shapes shapes --images 5 --size 48")
    run(line)
    written = listing(Path("s"))
    assert place.removeprefix("s/") in written
    assert there in error_of(line)
    assert run(f"{line} --overwrite").exit_code == 0
    assert listing(Path("s")) == written
    Path(place).write_text("somebody's work")
    assert Path(place).name in error_of(f"{line} --overwrite")


# Every option of a command that names one file to write, and the shortest line that has it.
FILES = {
    "stages --draw": "stages usernet:small --input-size 64 --draw f.svg",
    "plan --draw": "plan usernet:small -r good.yaml --input-size 64 --draw f.svg",
    "show --draw": "show library --draw f.svg",
    "profile --output": "profile usernet:small --input-size 64 -o f.html",
    "report --output": "report --published -o f.csv",
    "evaluate --output": "evaluate detector --data COCO -o f.json",
    "evaluate --confusion": "evaluate run --confusion f.png",
    "export --output": "export usernet:small --input-size 64 --dynamic none -o f.pt",
    "zoo --report": "zoo --networks networks.txt --report f.md",
}
# Their check is that of the others; what they need is not made for it.
_NEED_MORE = ("evaluate --output", "evaluate --confusion")


def test_the_table_has_every_option_that_names_a_file_to_write() -> None:
    found = {
        f"{name} {max(option.opts, key=len)}"
        for name, command in commands().items()
        for option in command.params
        if option.param_type_name == "option"
        and option.metavar == "FILE"
        and option.help.startswith(("Write", "Draw"))
    }
    assert found == FILES.keys()


@pytest.mark.parametrize("what", FILES)
def test_a_file_is_replaced_with_overwrite_alone(here: Path, made: Path, what: str) -> None:
    shutil.copytree(made / "library", "library")
    Path("networks.txt").write_text("timm/test_resnet 3x64x64\n")
    line = FILES[what]
    file = Path(line.split()[-1])
    file.write_text("ten years")
    said = error_of(line)
    assert f"{file}: a file is here already" in said
    assert "choose another name, or replace it: --overwrite" in said
    assert file.read_text() == "ten years"
    missing = line.replace(str(file), f"nowhere/{file}")
    assert f"nowhere/{file}: there is no folder 'nowhere'" in error_of(f"{missing} --overwrite")
    folder = line.replace(str(file), "library")
    if what not in ("zoo --report", "report --output"):
        assert "library: this is a folder" in error_of(f"{folder} --overwrite")
    if what not in _NEED_MORE:
        assert run(f"{line} --overwrite").exit_code == 0
        assert file.read_bytes() != b"ten years"


def test_neither_table_of_the_zoo_is_replaced_without_overwrite(here: Path) -> None:
    for name in ("f.md", "f.csv"):
        Path(name).write_text("ten years")
        assert f"{name}: a file is here already" in error_of(FILES["zoo --report"])
        Path(name).unlink()
