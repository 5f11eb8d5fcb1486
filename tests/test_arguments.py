"""Wrong types get our errors: every public function with every argument of every wrong type, and what is said."""

from __future__ import annotations

import inspect
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hmhsa_insert as hi
from hmhsa_insert.costs.steps import Setting

FUNCTIONS = sorted(name for name in hi.__all__ if inspect.isroutine(getattr(hi, name)))
EDIT = {
    "op": "insert",
    "id": "it",
    "at": {"class": "ReLU"},
    "block": {"type": "timm/eca"},
    "init": "identity",
}
RECIPE = {"version": 1, "edits": [EDIT]}
STUDY = {"version": 1, "models": "test_resnet", "data": "digits", "seeds": 1, "variants": {"plain": None}}


def net() -> nn.Module:
    body = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)).eval()


def arguments() -> dict[str, dict[str, Any]]:
    """Return for each public function arguments that are right, so that a single one can be wrong."""
    model = net()
    edited = hi.apply(model, RECIPE, input_size=32)
    image = {"model": model, "input_size": 32}
    return {
        "ablate": {"study": STUDY, "folder": "study"},
        "apply": {"recipe": RECIPE, **image},
        "attention": {"model": edited, "image": torch.zeros(3, 32, 32)},
        "base_state_dict": {"model": edited},
        "build_block": {"spec": {"type": "timm/eca"}, "channels": 8},
        "detector": {"kind": "retinanet", "backbone": model, "input_size": 64},
        "draw": {"plan": RECIPE, **image},
        "evaluate": {"model": model, "data": "digits"},
        "export": {"path": "net.pt2", **image},
        "load": {"folder": "edited"},
        "load_model": {"spec": "test_resnet"},
        "load_weights": {"model": model, "path": "weights.pth"},
        "locate_stages": image,
        "plan": {"recipe": RECIPE, **image},
        "profile": image,
        "push": {"model": edited, "repository": "no user/name"},
        "register_block": {"cls": net, "name": "mine"},
        "remove": {"model": edited},
        "report": {"sources": []},
        "save": {"model": edited, "folder": "saved", "overwrite": True},
        "segmenter": {"decoder": "semantic_fpn", "backbone": model, "num_classes": 2, "input_size": 64},
        "suggest": {"block": "timm/eca", "max_params": "+900%", **image},
        "train": {"model": model, "data": "digits"},
        "verify": {"base": model, "model": edited},
    }


class Odd:
    """An object that is nothing of ours."""


WRONG: list[Any] = [
    None, True, 0, -1, 5, 10**30, 0.5, float("nan"), "", "text", "\x1b[31m", b"bytes", Path("nowhere"), Odd(), Odd, int,
    nn.Linear, nn.Linear(2, 2), net, lambda *args: None, [], [1], ["a"], [RECIPE], (), (1, 2), (1, 2, 3, 4), {},
    {"a": 1}, {1: 2}, {"version": 1, "edits": [{"op": "insert"}]}, {3}, np.int64(3), np.float32(0.5), np.bool_(True),
    np.zeros(3), np.zeros((2, 3, 32, 32)), torch.zeros(2), torch.tensor(3), torch.device("cpu"), torch.float32,
    range(3), 1j,
]  # fmt: skip


CALLED = ("progress", "say", "cost")  # a function that fails when it is called is the user's own error


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let what takes long return at once: arguments are read before it."""
    monkeypatch.chdir(tmp_path)
    for place in ("training.run.train_run", "training.score.score", "studies.ablate.run_study"):
        monkeypatch.setattr(f"hmhsa_insert.{place}", lambda *args, **options: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("hmhsa_insert.surgery.base.load.near", lambda *args: "")
    monkeypatch.setattr("hmhsa_insert.exporting.export.write_file", lambda *args: None)
    monkeypatch.setattr("hmhsa_insert.costs.profile.crosscheck", lambda *args: None)
    hi.save(hi.apply(net(), RECIPE, input_size=32), "edited")
    torch.save(net().state_dict(), "weights.pth")


def test_every_public_function_reads_its_arguments() -> None:
    assert [name for name in FUNCTIONS if not getattr(getattr(hi, name), "reads_arguments", False)] == []
    assert arguments().keys() == set(FUNCTIONS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name == "suggest" else ()) for name in FUNCTIONS]
)
@pytest.mark.filterwarnings("ignore")
def test_a_wrong_type_is_an_error_of_ours(name: str, nothing_runs: None) -> None:
    function, right = getattr(hi, name), arguments()[name]
    parameters = inspect.signature(function).parameters.values()
    fixed = [each.name for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    refused = 0
    for argument, value in itertools.product(fixed, WRONG):
        if not (argument in CALLED and callable(value)):
            try:
                function(**{**right, argument: value})
            except hi.HmhsaInsertError as error:
                refused += "\x1b" not in str(error)
            except Exception as error:
                raise AssertionError(f"hi.{name}({argument}={value!r})") from error
    assert refused >= len(fixed) * 5


@pytest.mark.parametrize(
    ("call", "where", "message", "tip"),
    [
        (lambda m: hi.plan("resnet18", RECIPE), "model", "a torch.nn.Module was expected, found 'resnet18'",
         "hi.load_model('resnet18').model builds a network of that name, hi.load(…) an artifact"),
        (lambda m: hi.apply(nn.Linear, RECIPE), "model", "a torch.nn.Module was expected, found the class Linear",
         "a network is an instance of it: Linear(...)"),
        (lambda m: hi.locate_stages(hi.load_model("test_resnet")), "model",
         "a torch.nn.Module was expected, found an object of type LoadedModel", "give its .model"),
        (lambda m: hi.verify(m, None), "model", "a torch.nn.Module was expected, found None", ""),
        (lambda m: hi.plan(m, [EDIT]), "recipe", "a text, a path, a dict or a Recipe was expected, found a list",
         "a recipe is a dict such as {'version': 1, 'edits': [...]}"),
        (lambda m: hi.attention(m, torch.zeros(1, 3, 64, 64), query=(1, 2, 3)), "query",
         "a list of 2 whole numbers was expected, found (1, 2, 3)", "a pixel is its row and its column: (120, 80)"),
        (lambda m: hi.plan(m, RECIPE, "96"), "Sequential", "its forward failed on an input of 96: ",
         "(96,) and '96' are one axis, not an image: write input_size=96 (a square), (96, 96) or (3, 96, 96)"),
        (lambda m: hi.profile(m, (96,)), "Sequential", "cannot run on an input of 96: ",
         "(96,) and '96' are one axis, not an image: write input_size=96 (a square), (96, 96) or (3, 96, 96)"),
        (lambda m: hi.apply(m, RECIPE, 32, seed=True), "seed", "a whole number was expected, found True", ""),
        (lambda m: hi.apply(m, RECIPE, 32, backend="trees"), "backend",
         "'tree' or 'graph' was expected, found 'trees'", ""),
        (lambda m: hi.train(m, "digits", overrides="epochs=1"), "overrides",
         "a list of texts was expected, found 'epochs=1'", "put it into a list: ['epochs=1']"),
        (lambda m: hi.train(m, "digits", overrides=["epochs=1", 2]), "overrides",
         "a list of texts was expected, found 2 at [1]", ""),
        (lambda m: hi.profile(m, 32, batch="2"), "batch", "a whole number was expected, found '2'", ""),
        (lambda m: hi.locate_stages(m, "32y"), "input_size", "'32y' describes no input", None),
        (lambda m: hi.locate_stages(m, (0, 32)), "input_size",
         "(3, 0, 32) is not a size: its axes are integers from 1", None),
        (lambda m: hi.locate_stages(nn.Linear(2, 2), 32), "input_size",
         "32 is the side of an image, and no convolution of the network says how many channels it has",
         "give all of it: (C, H, W)"),
        (lambda m: hi.profile(m, 32, setting=Setting("cudda")), "device", "'cudda' cannot be used: ", None),
    ],
)  # fmt: skip
def test_what_is_said(call: Any, where: str, message: str, tip: str | None) -> None:
    with pytest.raises(hi.HmhsaInsertError) as error:
        call(net())
    (problem,) = error.value.problems
    assert problem.where == where
    begins = tip is None or message.endswith(": ")  # what torch says comes after it
    assert problem.message.startswith(message) if begins else problem.message == message
    assert tip is None or problem.tip == tip


def test_all_wrong_arguments_are_listed() -> None:
    with pytest.raises(hi.ArgumentError) as error:
        hi.apply("resnet18", 5, seed="a")
    assert [problem.where for problem in error.value.problems] == ["model", "recipe", "seed"]
    assert isinstance(error.value, TypeError)


def test_unknown_arguments_are_pythons_own_error() -> None:
    with pytest.raises(TypeError, match=r"plan\(\) got an unexpected keyword argument 'size'"):
        hi.plan(net(), RECIPE, size=3)
    with pytest.raises(TypeError, match=r"plan\(\) missing 1 required positional argument: 'recipe'"):
        hi.plan(net())


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (96, (3, 96, 96)), (np.int64(96), (3, 96, 96)), ((96, 128), (3, 96, 128)), ([96, 128], (3, 96, 128)),
        ((np.int32(96), 128), (3, 96, 128)), ((3, 96, 128), (3, 96, 128)), (np.array([3, 96, 128]), None),
        (torch.zeros(1, 3, 96, 128), (3, 96, 128)),
    ],
)  # fmt: skip
def test_a_number_is_a_square_and_two_are_height_and_width(given: Any, size: tuple[int, ...] | None) -> None:
    model = net()
    if size is None:
        with pytest.raises(hi.ModelError):
            hi.plan(model, RECIPE, given)
        return
    edited = hi.apply(model, RECIPE, given)
    assert hi.plan(model, RECIPE, given).inputs.image_size == size
    assert hi.profile(edited, given).input_size == size
    assert (hi.locate_stages(model, given)[0].height, hi.locate_stages(model, given)[0].width) == (
        48,
        size[2] // 2,
    )
    assert all(check.passed for check in hi.verify(model, edited, given))


def test_the_channels_are_those_of_the_network() -> None:
    gray = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU())
    assert hi.plan(gray, RECIPE, 32).inputs.image_size == (1, 32, 32)
    # Without a convolution, two numbers are what they were: an input of two axes.
    assert hi.profile(nn.Linear(8, 4), (7, 8)).macs == 7 * 8 * 4


def test_numbers_of_numpy_are_numbers() -> None:
    model = net()
    one = hi.apply(model, RECIPE, 32, seed=np.int64(3)).state_dict()
    assert all(
        torch.equal(value, one[key])
        for key, value in hi.apply(model, RECIPE, 32, seed=3).state_dict().items()
    )
