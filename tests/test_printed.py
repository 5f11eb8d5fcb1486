"""What the public functions return prints well: 80 columns, one line of repr, HTML for notebooks, all of it inert."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import timm
from torch import nn

import hmhsa_insert as hi
from hmhsa_insert.printed import Printed
from hmhsa_insert.surgery.locate.found import Stages
from hmhsa_insert.surgery.proof.checks import Check, Checks
from hmhsa_insert.tables import Table, TableCell, left, plain_html, plain_text, right


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return timm.create_model("test_resnet", num_classes=10).eval()


@pytest.fixture(scope="module")
def edited(net: nn.Module) -> nn.Module:
    return hi.apply(net, "stage3.yaml", input_size=64)


SMALL = ["epochs=1", "input_size=16", "compute.device=cpu"]
MAKERS: dict[str, Callable[[nn.Module, nn.Module, Path], Any]] = {
    "plan": lambda net, edited, here: hi.plan(net, "stage3.yaml", input_size=64),
    "locate_stages": lambda net, edited, here: hi.locate_stages(net, 64),
    "verify": lambda net, edited, here: hi.verify(net, edited, gradients=False),
    "profile": lambda net, edited, here: hi.profile(edited, 64, memory=True),
    "suggest": lambda net, edited, here: hi.suggest(net, "timm/se", max_params="+1%", input_size=64),
    "load_model": lambda net, edited, here: hi.load_model("test_resnet"),
    "evaluate": lambda net, edited, here: hi.evaluate(
        timm.create_model("test_resnet", num_classes=10, in_chans=1), "digits", overrides=["input_size=16"]
    ),
    "export": lambda net, edited, here: hi.export(edited, here / "net.pt2", input_size=64),
}
FIRST_LINES = {
    "plan": "stage3 on ResNet at 3×64×64: 1 site",
    "locate_stages": "5 stages of ResNet at 3×64×64",
    "verify": "Verification: 5 checks passed",
    "profile": "ResNet at 3×64×64",
    "suggest": "ResNet at 3×64×64: ",
    "load_model": "timm/test_resnet",
    "evaluate": "360 images, ",
    "export": "net.pt2: pt2, largest difference from the network ",
}


class Balanced(HTMLParser):
    """Raises where a tag is closed that is not open; keeps the texts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("name", MAKERS)
def test_a_result_reads_at_80_columns(name, net, edited, tmp_path) -> None:
    result = MAKERS[name](net, edited, tmp_path)
    assert isinstance(result, Printed)
    text = str(result)
    assert text.startswith(FIRST_LINES[name])
    assert max(map(len, text.splitlines())) <= 80
    assert "\n" not in repr(result)
    assert len(repr(result)) < 200
    assert repr(result).startswith(f"<{type(result).__name__}: {FIRST_LINES[name]}")
    page = Balanced()
    page.feed(result._repr_html_())
    assert page.open == []
    assert next(cell.text for cell in result.tables()[0].rows[0].cells if cell.text) in page.texts


def test_every_result_class_has_the_short_repr() -> None:
    def subclasses(cls: type) -> set[type]:
        return {cls}.union(*map(subclasses, cls.__subclasses__()))

    import hmhsa_insert.detection.evaluation
    import hmhsa_insert.tasks.detect  # noqa: F401

    ours = {cls for cls in subclasses(Printed) if cls.__module__.startswith("hmhsa_insert")}
    assert len(ours) >= 14
    assert {cls.__name__ for cls in ours if cls.__repr__ is not Printed.__repr__} == set()


def test_a_plan_as_it_is_printed(net) -> None:
    assert str(hi.plan(net, "stage3.yaml", input_size=64)).splitlines() == [
        "stage3 on ResNet at 3×64×64: 1 site",
        "",
        " edit    where      what              map    params      MACs",
        " " + "─" * 60,
        " hmhsa   layer3.0   hmhsa after   192×4×4   148,224   2.458 M",
        "",
        "hmhsa: head_dim auto is 32",
        "new weights: layer3.0.hmhsa.*",
    ]


def test_stages_are_a_tuple_still(net) -> None:
    stages = hi.locate_stages(net, 64)
    assert isinstance(stages, tuple)
    assert [stage.index for stage in stages] == [0, 1, 2, 3, 4]
    assert stages == tuple(stages)
    assert hash(stages) == hash(tuple(stages))
    assert str(stages[3]) == "stage 3  stride 16  192×4×4  1 block"
    assert repr(stages[3]) == "<Stage: stage 3  stride 16  192×4×4  1 block>"
    for again in (pickle.loads(pickle.dumps(stages)), copy.deepcopy(stages)):
        assert again == stages
        assert type(again) is Stages
        assert str(again) == str(stages)
    assert type(stages[1:]) is tuple


def test_full_resolution_has_a_name() -> None:
    flat = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
    stages = hi.locate_stages(flat, 32)
    assert [stage.name for stage in stages] == ["full resolution"]
    assert [stage.index for stage in stages] == [-1]
    assert "full resolution" in str(stages)
    assert "-1" not in str(stages)


def test_no_stage_says_why() -> None:
    found = hi.locate_stages(nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU()), input_size=[(3, 64)])
    assert found == ()
    assert str(found).splitlines()[0].startswith("0 stages of Sequential at 3×64")
    assert "one spatial axis" in str(found).replace("\n", " ")


def test_checks_are_a_tuple_still_and_say_what_failed() -> None:
    good, bad = Check("wiring", True, 0.0, "fine"), Check("eval outputs", False, 0.5, "differ")
    checks = Checks([good, bad])
    assert checks == (good, bad)
    assert checks[1] is bad
    assert pickle.loads(pickle.dumps(checks)) == checks
    assert (checks.passed, Checks([good]).passed) == (False, True)
    assert str(checks).splitlines() == [
        "Verification: 1 of 2 checks FAILED",
        "",
        "          check          max |Δ|   what was found",
        " " + "─" * 48,
        " ok       wiring                   fine",
        " FAILED   eval outputs       0.5   differ",
    ]
    assert "FAILED</td>" in checks._repr_html_()
    assert "color:#b00020" in checks._repr_html_()


def test_a_run_and_a_study_print_their_scores(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = hi.train("test_resnet", "digits", overrides=SMALL, folder="run")
    lines = str(result).splitlines()
    assert lines[0].startswith("run: classify, 1 epoch, ")
    assert any(line.split() == ["top1", f"{result.top1:.1f}"] for line in lines)
    study = {
        "version": 1, "models": "test_resnet", "data": "digits", "seeds": 1, "variants": {"plain": None},
        "settings": {"short": {"base": "digits", "epochs": 1, "input_size": 16}},
    }  # fmt: skip
    run = hi.ablate(study, "study")
    assert repr(run) == "<StudyRun: study: 1 of 1 trials done>"
    row = next(line for line in str(run).splitlines() if line.startswith(" plain, "))
    assert "done" in row.split()
    for each in (result, run):
        assert max(map(len, str(each).splitlines())) <= 80
        assert "<table>" in each._repr_html_()


HOSTILE = "\x1b[31m[b]<script>x</script>\u202e&amp;"


def test_what_is_printed_is_inert(net) -> None:
    named = dataclasses.replace(hi.plan(net, "stage3.yaml", input_size=64), model=HOSTILE)
    for text in (str(named), repr(named), named._repr_html_()):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\\x1b[31m" in text
    assert "[b]<script>" in str(named)
    assert "<script>" not in named._repr_html_()
    assert "&lt;script&gt;" in named._repr_html_()
    table = Table.of(
        HOSTILE, [left(HOSTILE), right("n")], [(HOSTILE, 1234), (TableCell(HOSTILE, 1), None)], [HOSTILE]
    )
    assert "\x1b" not in plain_text([table])
    assert "\x1b" not in plain_html([table])
    assert plain_html([table]).count("<script>") == 0
    assert "1,234" in plain_text([table])


def test_long_tables_fold_to_80_columns() -> None:
    table = Table.of("t", [left("where"), right("n")], [("a" * 300, 1)], ["note " * 60])
    lines = plain_text([table]).splitlines()
    assert max(map(len, lines)) <= 80
    assert "".join(line.split()[0] for line in lines if line.startswith(" aaa")) == "a" * 300
