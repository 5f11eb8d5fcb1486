"""Folders that cannot be written or read: what is said of each, and that nothing is half-written."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from command_line import change_json, error_of, listing, run

import hmhsa_insert as hi

APPLY = "apply usernet:small -r good.yaml --input-size 64 -o "
HEAD = "error: the artifact cannot be read or written"
WRITES = "    `hmhsa-insert apply MODEL --recipe R -o DIR` writes one"
Change = Callable[[Any], Any]


def test_an_output_that_exists(artifacts: Path) -> None:
    (artifacts / "thesis").mkdir()
    (artifacts / "thesis" / "chapter.tex").write_text("years of work")
    (artifacts / "link").symlink_to("mine")
    other = "it exists and is not an artifact (it {})"
    only = "choose another folder: only artifacts are ever replaced"
    for line, message, tip in (
        ("mine", "an artifact is here already", "choose another folder, or replace it: --overwrite"),
        ("thesis", other.format("has no plan.json"), "choose another folder"),
        ("thesis --overwrite", other.format("has no plan.json"), only),
        ("good.yaml --overwrite", other.format("is a file"), only),
        ("link --overwrite", other.format("is a link"), only),
    ):
        folder = line.split()[0]
        assert error_of(APPLY + line).splitlines() == [HEAD, f"  {folder}: {message}", f"    {tip}"]


def test_a_file_where_a_parent_should_be(here: Path) -> None:
    assert error_of(APPLY + "good.yaml/out").splitlines() == [
        HEAD,
        f"  good.yaml/out: '{here}/good.yaml' is not a folder",
        "    choose another folder",
    ]


def test_an_unwritable_place(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    # Root may write into a folder without write permission, and the tests may run as root.
    monkeypatch.setattr("hmhsa_insert.surgery.artifact.folder.tempfile.mkdtemp", refuse)
    assert error_of(APPLY + "out").splitlines() == [
        HEAD,
        f"  out: nothing can be written in '{here}': Permission denied",
        "    choose another folder",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission(here: Path) -> None:
    here.chmod(0o555)
    assert f"nothing can be written in '{here}': Permission denied" in error_of(APPLY + "out")
    here.chmod(0o755)


def test_a_disk_that_is_full(artifacts: Path) -> None:
    """A limit on the size of files stands for the disk: the weights are the first file that is too large."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for line in ("new", "new/deeper/out", "mine --overwrite"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        try:
            report = error_of(APPLY + line)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        message = "it cannot be written: File too large (os error 27)"
        assert report.splitlines() == [HEAD, f"  {line.split()[0]}: {message}"]
    assert hi.load("library").training


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_an_end_in_the_middle_of_writing(artifacts: Path, monkeypatch: pytest.MonkeyPatch, error) -> None:
    def fail(_tensors: object, path: Path, _metadata: object) -> None:
        Path(path).write_bytes(b"half of it")
        raise error

    monkeypatch.setattr(safetensors.torch, "save_file", fail)
    before = listing(artifacts)
    for line in ("new", "mine --overwrite"):
        result = run(APPLY + line)
        assert result.exit_code != 0
        if isinstance(error, OSError):
            folder = line.split()[0]
            message = "it cannot be written: No space left on device"
            assert result.stderr.splitlines() == [HEAD, f"  {folder}: {message}"]
        assert listing(artifacts) == before


def test_a_rename_that_fails_leaves_the_older_artifact(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def refuse(source: Path, target: Path) -> None:
        if Path(target).name == "mine" and Path(source).name != "old":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    report = error_of(APPLY + "mine --overwrite").splitlines()
    assert report == [HEAD, "  mine: it cannot be written: Input/output error"]


def site(data: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = data["plans"][0]["plan"]["sites"][0]
    return found


# What is done to the plan, then what is said of plan.json.
PLANS: dict[str, tuple[Change, tuple[str, ...]]] = {
    "newer": (
        lambda d: d.update(format=2),
        (
            "it has format 2, and this release reads format 1",
            "    read it with the release that wrote it",
        ),
    ),
    "no sites": (
        lambda d: d["plans"][0]["plan"].pop("sites"),
        ("it is damaged: 'plans.0.plan.sites' is missing",),
    ),
    "unknown field": (lambda d: site(d).update(new=1), ("it holds no plan that this release can read",)),
    "unknown action": (
        lambda d: site(d).update(action="x"),
        (
            "it is damaged: 'plans.0.plan.sites.0.action' must be 'hook_output', 'hook_input', 'expression', "
            "'graph', 'rewrite', 'swap', "
            "'drop' or 'unstride', found 'x'",
        ),
    ),
    "no plans": (lambda d: d["plans"].clear(), ("it holds no plan",)),
    "unknown backend": (
        lambda d: d["plans"][0].update(backend="jit"),
        ("it is damaged: 'plans.0.backend' must be 'tree' or 'graph', found 'jit'",),
    ),
    "no input size": (
        lambda d: d["plans"][0]["plan"].update(input_size=[]),
        ("it is damaged: 'input_size' holds no sizes such as [3, 224, 224]",),
    ),
    "wrong recipe": (
        lambda d: d["plans"][0]["plan"]["recipe"].update(name="[/x]"),
        (
            "the recipe in it has problems: recipe.name: 'name' must be a letter or digit, then letters, digits, "
            "'.', '_', '+' or '-', found '[/x]'",
        ),
    ),
    "code in a name": (
        lambda d: site(d).update(key="layer3.0.x); import os; (y"),
        ("'layer3.0.x); import os; (y' is not a valid name for a new module of 'layer3.0'",),
    ),
    "another module": (
        lambda d: site(d).update(qualname="layer9", key="layer9.attn"),
        (
            "it does not fit the base network: ResNet has no attribute `layer9`",
            "    the base network is not the one it was made for",
        ),
    ),
    "unknown block": (
        lambda d: site(d)["block"].update(type="mine"),
        ("type: there is no block type 'mine'", "    `hmhsa-insert blocks` lists them"),
    ),
}


@pytest.mark.parametrize("what", PLANS)
def test_what_is_said_of_a_plan(artifacts: Path, what: str) -> None:
    change, (message, *tip) = PLANS[what]
    change_json(artifacts / "library/plan.json", change)
    report = [HEAD, f"  library/plan.json: {message}", *tip]
    assert error_of("stages library").splitlines() == report
    if what not in ("another module", "unknown block"):  # seen only when the network is built
        assert error_of("show library").splitlines() == report


@pytest.mark.parametrize("name", ["plan.json", "base.json", "model.safetensors"])
def test_a_file_that_is_missing(artifacts: Path, name: str) -> None:
    (artifacts / "library" / name).unlink()
    report = [HEAD, f"  library: this is not an artifact: it has no {name}", WRITES]
    for line in ("show library", "stages library", "plan library -r good.yaml --base usernet:small"):
        assert error_of(line).splitlines() == report


def test_files_that_are_damaged(artifacts: Path) -> None:
    plan = artifacts / "library/plan.json"
    text = plan.read_text()
    for content, reason in (
        (text[:50], ":5:15: it is damaged: expecting value"),
        ("[]", ": it is damaged: it holds a list, not a mapping"),
        ("[" * 100_000, ": it is damaged: values are nested more than 64 deep"),
    ):
        plan.write_text(content)
        assert error_of("show library").splitlines()[1].startswith(f"  library/plan.json{reason}")
    plan.write_text(text)
    weights = artifacts / "library/model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-100])
    for line in ("show library", "stages library"):
        assert error_of(line).splitlines() == [
            "error: the weights cannot be loaded",
            "  library/model.safetensors: is damaged, or is not a safetensors file: Error while deserializing header: "
            "incomplete metadata, file not fully covered",
        ]
    weights.write_bytes((artifacts / "mine/model.safetensors").read_bytes())
    assert error_of("stages library").splitlines()[1:] == [
        "  library/model.safetensors: 117 tensors do not fit the network: 'conv1.0.weight', 'conv1.1.weight', "
        "'conv1.1.bias', 'conv1.3.weight' or 'conv1.4.weight' and 112 more",
        "    the folder's files are not of one artifact",
    ]


def test_folders_that_are_not_there(here: Path) -> None:
    assert error_of("show nowhere").splitlines() == [HEAD, "  nowhere: there is no such folder", WRITES]
    a_file = "  good.yaml: this is a file, and an artifact is a folder"
    assert error_of("show good.yaml").splitlines() == [HEAD, a_file, WRITES]
    (here / "plain").mkdir()
    report = [HEAD, "  plain: this is not an artifact: it has no plan.json", WRITES]
    assert error_of("show plain").splitlines() == report
    assert error_of("stages plain").splitlines() == report
