"""The runner: time limits, processes that die, and the report."""

from __future__ import annotations

import os
import time

import pytest
from typer.testing import CliRunner

from hmhsa_insert.commands import app
from hmhsa_insert.zoo.check import ZooRow, check_network
from hmhsa_insert.zoo.networks import Entry, entries, entries_of
from hmhsa_insert.zoo.report import summary, to_csv, to_markdown
from hmhsa_insert.zoo.run import run


def behave(entry: Entry) -> ZooRow:
    """Stand in for the check: die, hang or answer, by name."""
    if entry.name == "dies":
        os._exit(3)
    if entry.name == "hangs":
        time.sleep(60)
    return ZooRow(entry.spec, "64x64", status="ok", stages="2:8:stem", sites=1, in_tree=1, eval_change=0.0)


def entry(name: str) -> Entry:
    return Entry("timm", name, 64, 64, {2: (8, "stem")})


@pytest.mark.long
def test_one_network_that_dies_or_hangs_does_not_stop_the_others() -> None:
    names = ["first", "dies", "second", "hangs", "third"]
    rows = list(run([entry(name) for name in names], time_limit_s=8, check=behave))
    assert {row.network.removeprefix("timm/"): row.status for row in rows} == {
        "first": "ok",
        "dies": "died",
        "second": "ok",
        "hangs": "timeout",
        "third": "ok",
    }
    assert "ended with code 3" in next(row.reason for row in rows if row.status == "died")


def test_two_workers_do_all_networks_once() -> None:
    rows = list(run([entry(str(i)) for i in range(7)], workers=2, check=behave))
    assert sorted(row.network for row in rows) == [f"timm/{i}" for i in range(7)]


def test_the_report_adds_up_and_names_causes() -> None:
    rows = [
        ZooRow("timm/a", "64x64", 1.0, "ok", "2:8:stem", 2, 1, 0.0, 0.0, True, 0.5, False, ""),
        ZooRow(
            "timm/b", "64x64", 1.0, "failed", "2:8:stem", 1, 1, 1e-3, 0.0, True, 0.7, False, "2:8!=9", "Δ"
        ),
        ZooRow("torchvision/c", "64x64", 1.0, "refused", reason="no map"),
    ]
    answers = dict(summary(rows))
    assert answers["networks"] == "3: 1 ok, 1 failed, 1 refused"
    assert answers["identity exact in eval and in train mode"] == "1 of 2 that ran"
    assert answers["edited in the module tree"] == "2 of 3 sites (66.7 %)"
    assert answers["agree with timm's feature_info on stride and channels"] == "1 of 2"
    page = to_markdown(rows, {"torch": "2"}, {"timm/b": "because"})
    assert "| timm/b | 2:8!=9 | because |" in page
    assert "`torchvision/c` refused: no map" in page
    assert to_csv(rows).count("\n") == 4


def test_the_list_is_the_zoo() -> None:
    assert len(entries()) == 312
    assert {e.source for e in entries("resnet50")} == {"timm", "torchvision"}
    assert [e.spec for e in entries("torchvision/resnet18")] == ["torchvision/resnet18"]


def test_the_command_lists_and_refuses() -> None:
    listed = CliRunner().invoke(app, ["zoo", "--list", "--filter", "resnet18"])
    assert "timm/resnet18" in listed.stdout
    unknown = CliRunner().invoke(app, ["zoo", "--filter", "resnett18"])
    assert unknown.exit_code == 1
    assert "no network matches 'resnett18'" in unknown.output


def test_networks_of_ones_own_are_read_from_a_file(tmp_path, monkeypatch) -> None:
    (tmp_path / "own_nets.py").write_text(
        "from torch import nn\n\n\ndef gray():\n    return nn.Sequential(nn.Conv2d(1, 8, 4, 4), nn.ReLU())\n"
    )
    listed = tmp_path / "nets.txt"
    listed.write_text("# mine\n\nown_nets:gray 1x32x48  # gray images\ntimm/resnet18 64x64\n")
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(app, ["zoo", "--networks", "nets.txt", "--allow-code", "--list"])
    assert found.stdout.splitlines() == ["own_nets:gray  32x48", "timm/resnet18  64x64"]
    row = check_network(entries_of(listed, allow_code=True)[0])
    assert (row.status, row.stages, row.eval_change, row.train_change) == ("ok", "4:8:1", 0, 0)
    listed.write_text("timm/resnet18 64x\n")
    wrong = CliRunner().invoke(app, ["zoo", "--networks", "nets.txt", "--list"])
    assert wrong.exit_code == 1
    assert "nets.txt:1: '64x' is not a size" in wrong.output
