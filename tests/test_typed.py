"""A user's script sees types: mypy in its strict mode finds nothing that is Any."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest

import hmhsa_insert as hi
from hmhsa_insert.tasks.typed import Evaluate, Train

# What returns another class for another task: type checkers are told by overloads.
CALLS: dict[str, Any] = {"train": Train, "evaluate": Evaluate}

SCRIPT = """\
from pathlib import Path

from torch import nn

import hmhsa_insert as hi

loaded = hi.load_model("test_resnet")
model = loaded.model
reveal_type(loaded.input_size)
reveal_type(hi.locate_stages(model, (3, 64, 64)))
reveal_type(hi.plan(model, "stage3.yaml", input_size=(3, 64, 64)))
edited = hi.apply(model, "stage3.yaml", input_size=(3, 64, 64))
reveal_type(edited)
reveal_type(hi.verify(model, edited, (3, 64, 64)))
reveal_type(hi.profile(edited, (3, 64, 64)))
reveal_type(hi.remove(edited))
reveal_type(hi.base_state_dict(edited))
reveal_type(hi.build_block({"type": "hmhsa", "head_dim": 8}, channels=64))
reveal_type(hi.save(edited, Path("edited")))
reveal_type(hi.load("edited"))
reveal_type(hi.export(edited, "net.pt2"))
reveal_type(hi.push(edited, "me/net"))
reveal_type(hi.detector("retinanet", edited, num_classes=3))
reveal_type(hi.load_weights(model, "weights.pth"))
reveal_type(hi.HubError("nothing").problems)
reveal_type(hi.locate_stages(model, 64)[0].name)
reveal_type(hi.verify(model, edited, 64).passed)
found = hi.suggest(model, "timm/se", max_macs="+5%", input_size=64)
reveal_type(found)
reveal_type(hi.apply(model, found[0].recipe, input_size=64))
tried = hi.suggest("test_resnet", data="digits", blocks=["hmhsa", {"type": "irb"}], budget="10m")
reveal_type(tried)
reveal_type(tried.recipes[0].name)
reveal_type(hi.ablate("study.yaml").count("done"))
reveal_type(str(hi.plan(model, "stage3.yaml")))
trained = hi.train("test_resnet", "digits", recipe="stage3.yaml", overrides=["epochs=1"])
reveal_type(trained)
reveal_type(trained.top1)
reveal_type(hi.train("test_resnet", "coco", task="segment", detector="maskrcnn").box)
reveal_type(hi.train("test_resnet", "set", task="ink", ink=3).scores["error"])
reveal_type(hi.evaluate("run"))
reveal_type(hi.evaluate(model, "digits", task="classify", renamed={"a": "b"}).top1)
reveal_type(hi.evaluate("run", "coco", task="detect").mask)


@hi.register_block
class Gate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()


@hi.register_block(name="other", summary="another")
class Other(Gate):
    pass


reveal_type(Gate(8))
reveal_type(Other(8))
reveal_type(hi.ArgumentError("nothing").problems)
"""


def test_type_checkers_are_told_every_public_name_from_its_own_file() -> None:
    tree = ast.parse(Path(str(hi.__file__)).read_text(encoding="utf-8"))
    imported = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for branch in tree.body
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for name, told in CALLS.items():
        assert imported.pop(told.__name__) == f"{told.__module__}.{told.__name__}"
        imported[name] = f"hmhsa_insert.{hi._PUBLIC[name]}.{name}"
    assert imported == {name: f"hmhsa_insert.{place}.{name}" for name, place in hi._PUBLIC.items()}


@pytest.mark.parametrize("name", CALLS)
def test_type_checkers_are_told_every_argument(name: str) -> None:
    own = dict(inspect.signature(getattr(hi, name)).parameters)
    own.pop("options", None)
    hints = typing.get_type_hints(getattr(hi, name))
    for told in typing.get_overloads(CALLS[name].__call__):
        parameters = dict(inspect.signature(told).parameters)
        del parameters["self"]
        rest = typing.get_type_hints(told)[parameters.pop("options").name]
        taken = {} if rest is Any else typing.get_type_hints(typing.get_args(rest)[0])
        assert parameters.keys() | (taken.keys() or own.keys()) - {"detector"} == own.keys()
        for key in ("model", "data"):
            assert typing.get_type_hints(told)[key] == hints[key]
            assert parameters[key].default is own[key].default
        assert {key: hints[key] for key in taken if key != "detector"} == {
            key: hint for key, hint in taken.items() if key != "detector"
        }


@pytest.mark.parametrize("name", hi._PUBLIC)
def test_a_public_name_is_that_of_its_file(name: str) -> None:
    assert getattr(hi, name) is getattr(importlib.import_module(f"hmhsa_insert.{hi._PUBLIC[name]}"), name)


@pytest.mark.long
def test_a_strict_script_sees_types(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "script.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    revealed = re.findall(r'note: Revealed type is "(.*)"', found.stdout)
    assert found.returncode == 0, found.stdout
    assert len(revealed) == SCRIPT.count("reveal_type")
    assert not [each for each in revealed if re.search(r"\bAny\b", each.split("[")[0])], revealed
