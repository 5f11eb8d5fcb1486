"""``--input`` and ``--fixed-batch``: what goes into a network, on every command that runs or traces one."""

from __future__ import annotations

import json

import pytest
from command_line import error_of, output, recipe

pytestmark = pytest.mark.usefixtures("here")

NETS = """
import torch
from torch import nn


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 16, 2, 2), nn.ReLU())
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        return self.fc(self.f(x).mean((2, 3)))


class Timestep(Body):
    def __init__(self):
        super().__init__()
        self.t = nn.Embedding(1000, 16)

    def forward(self, x, timestep):
        return self.fc((self.f(x) + self.t(timestep)[:, :, None, None]).mean((2, 3)))


class Shift(Body):
    def forward(self, x):
        return super().forward(x).view(-1, 8, 5).mean(1)


class Sound(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv1d(1, 8, 9, 4), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 5))
"""
STEP = "inputnets:Timestep --input-size 64 --input timestep:int64<1000"


@pytest.fixture(autouse=True)
def _nets(here) -> None:
    (here / "inputnets.py").write_text(NETS)
    (here / "at.yaml").write_text(recipe("{module: f.3}", "{type: irb, expansion: 1}"))


def _flat(text: str) -> str:
    return " ".join(text.replace("│", "").split())


def test_every_command_takes_an_input_by_name() -> None:
    assert output(f"stages {STEP}").splitlines()[0].endswith("input 3×64×64, timestep:int64<1000")
    plan = json.loads(output(f"plan {STEP} -r at.yaml --json"))
    assert plan["input_size"] == {"*": ["3x64x64"], "**": {"timestep": "int64<1000"}}
    macs = 3 * 16 * 8 * 16 * 16 + 8 * 4 * 16 * 8 * 8 + 16 * 5
    (record,) = json.loads(output(STEP.join(["profile ", " --format json"])))["records"]
    assert (record["macs"], record["inputs"]) == (macs, "3×64×64, timestep:int64<1000")
    assert record["input_size"] == [3, 64, 64]
    assert "recipes" in output(f"suggest {STEP} --block irb --max-macs +900%")


def test_apply_writes_what_it_was_given_and_later_commands_know_it() -> None:
    text = output(f"apply {STEP} -r at.yaml -o out")
    assert "FAILED" not in text
    base = "--base inputnets:Timestep"
    assert "input 3×64×64, timestep:int64<1000 ├" in _flat(output(f"stages out {base}"))
    assert "at 3×64×64, timestep:int64<1000: 1 site" in _flat(output("show out"))
    wide = output(f"stages out {base} --input-size 64x96 --input timestep:int64<5")
    assert "input 3×64×96, timestep:int64<5 ├" in _flat(wide)
    (record,) = json.loads(output(f"profile out {base} --format json"))["records"]
    assert record["inputs"] == "3×64×64, timestep:int64<1000"


def test_inputs_by_position_and_the_first_by_name_stand_for_the_image() -> None:
    assert "input 3×32×32, int64\n" in output("stages inputnets:Timestep --input 3x32x32 --input int64")
    named = output("stages inputnets:Timestep --input x:3x32x32 --input timestep:int64")
    assert "input x:3×32×32, timestep:int64\n" in named
    text = output("stages inputnets:Sound --input 1x400")
    assert "input 1×400" in text
    assert "its maps have one spatial axis" in _flat(text)


def test_a_fixed_batch() -> None:
    assert "--fixed-batch" in error_of("stages inputnets:Shift --input-size 64")
    line = "inputnets:Shift --input-size 64 --fixed-batch 8"
    assert "input 3×64×64 in batches of 8\n" in output(f"stages {line}")
    assert "FAILED" not in output(f"apply {line} -r at.yaml -o out")
    wanted = json.loads(output("profile inputnets:Body --input-size 64 --format json"))["records"][0]["macs"]
    (record,) = json.loads(output("profile out --base inputnets:Shift --format json"))["records"]
    (base,) = json.loads(output("profile inputnets:Shift --input-size 64 --fixed-batch 8 --format json"))[
        "records"
    ]
    assert base["macs"] == wanted
    assert record["inputs"] == "3×64×64 in batches of 8"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--input t:int65", "--input: 't:int65': there is no type 'int65'"),
        ("--input t:", "--input: 't:' describes no input"),
        ("--input t:float32<3", "--input: 't:float32<3': <3 is for integers"),
        ("--input t:int64 --input t:int64", "--input: two inputs have one name"),
        (
            "--input-size 64 --input 3x64x64",
            "--input-size: the image is described twice give it or --input INPUT",
        ),
        (
            "--input-size 64 --input x:3x64x64",
            "--input-size: the image is described twice give it or --input INPUT",
        ),
        ("--input-size 64 --input step:int64", "unexpected keyword argument 'step'"),
        ("--input-size 64", "give all its inputs"),
        ("--input-size 64 --input timestep:float", "say which inputs are integers"),
    ],
)
@pytest.mark.parametrize("command", ["stages", "apply"])
def test_what_describes_no_input_is_an_error(command: str, options: str, message: str) -> None:
    recipe_option = " -r at.yaml -o out" if command == "apply" else ""
    assert message in _flat(error_of(f"{command} inputnets:Timestep {options}{recipe_option}"))


def test_a_batch_is_a_whole_number_from_one() -> None:
    assert "greater than or equal to 1" in _flat(error_of("stages inputnets:Shift --fixed-batch 0", code=2))
