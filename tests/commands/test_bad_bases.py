"""Base networks that a folder names: what is said of those that cannot be built, or may not be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command_line import change_json, error_of

HEAD = "error: the artifact cannot be read or written"
BASE = "    give the base network: --base MODULE:FACTORY"
TRUSTED = f"    if you trust it: --allow-code; or {BASE.strip()}"

BASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "code": (
        {"source": "os:system"},
        ("it names code to import and run, 'os:system', and no file may do that by itself", TRUSTED),
    ),
    "unknown": (
        {"source": None},
        ("it does not say how the base network (ResNet) is built", BASE),
    ),
    "unsafe option": (
        {"kwargs": {"pretrained_cfg": {"file": "/etc/passwd"}}},
        ("a folder may not set the option 'pretrained_cfg'", BASE),
    ),
    "unsafe value": (
        {"kwargs": {"num_classes": [1]}},
        ("a folder may not set the option 'num_classes'", BASE),
    ),
    "a rate that is none": (
        {"kwargs": {"drop_rate": "x"}},
        ("it is damaged: 'drop_rate' must be a number, found 'x'",),
    ),
    "a size that is none": (
        {"kwargs": {"img_size": 0}},
        ("it is damaged: 'img_size' must be 1 or more, found 0",),
    ),
    "no mapping": ({"kwargs": [1]}, ("it is damaged: 'kwargs' must be a mapping, found [1]",)),
    "newer library": (
        {"source": "timm/resnet9000", "versions": {"timm": "9.0"}},
        (
            "the base network is 'timm/resnet9000', which the installed release does not have",
            "    it was made with timm 9.0",
        ),
    ),
}


@pytest.mark.parametrize("what", BASES)
def test_what_is_said_of_a_base(artifacts: Path, what: str) -> None:
    values, (message, *tip) = BASES[what]
    change_json(artifacts / "library/base.json", lambda data: data.update(values))
    assert error_of("stages library").splitlines() == [HEAD, f"  library/base.json: {message}", *tip]


@pytest.mark.parametrize(
    "line", ["evaluate mine --data digits", "train mine --data digits --config digits -o run"]
)
def test_commands_that_train_and_score_have_the_option_that_they_advise(artifacts: Path, line: str) -> None:
    said = error_of(line)
    assert "  mine/base.json: it names code to import and run, 'usernet:small'" in said
    assert said.splitlines()[-1] == TRUSTED


def test_a_base_that_is_a_folder(artifacts: Path) -> None:
    change_json(artifacts / "library/base.json", lambda data: data.update(source="/etc"))
    assert error_of("stages library").splitlines()[1:] == [
        "  library/base.json: /etc: this folder is not an artifact that `apply` wrote",
        "    write timm/NAME, torchvision/NAME, ultralytics/yolo11n.yaml, transformers/FOLDER, smp/Unet:resnet34, "
        "hf-hub:USER/NAME or package.module:factory",
    ]


def test_a_users_base_is_named_and_not_run(artifacts: Path) -> None:
    assert error_of("stages mine").splitlines() == [
        HEAD,
        "  mine/base.json: it names code to import and run, 'usernet:small', and no file may do that by itself",
        TRUSTED,
    ]
    assert error_of("stages mine --base usernet:other").splitlines() == [
        HEAD,
        "  mine/plan.json: it does not fit the base network: Sequential has no attribute `6`",
        "    the base network is not the one it was made for",
    ]
    assert error_of("apply library -r good.yaml --pretrained").splitlines() == [
        "error: the model cannot be used",
        "  library: an artifact has its own weights",
        "    leave --pretrained out",
    ]


@pytest.mark.parametrize(
    "line", ["evaluate mine --data digits", "train mine --data digits --config digits -o run"]
)
def test_a_base_that_the_user_names_is_built_where_networks_are_trained_and_scored(
    artifacts: Path, line: str
) -> None:
    # It was built, with its block: what is wrong now is how many classes it has.
    assert "10" in (said := error_of(f"{line} --base usernet:small")).replace("digits", "")
    assert "base.json" not in said
    assert "Sequential" in said


def test_a_base_that_nothing_needs_is_refused(artifacts: Path) -> None:
    assert error_of("stages library --base usernet:small").splitlines()[1:] == [
        "  --base: 'library' does not need it: its base network is timm/test_resnet",
        "    to edit that network itself, give it as MODEL: usernet:small",
    ]
