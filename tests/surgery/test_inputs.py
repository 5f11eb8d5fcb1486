"""Inputs by description: whatever users give becomes one object, which every part takes and an artifact keeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from edits import SIZE, insert, recipe
from input_nets import Body, Bytes, Grid, Nested, One, Scale, Shift, Text, Timestep
from packaging.version import Version
from torch import Tensor, nn

import hmhsa_insert as hi
from hmhsa_insert.costs.count import count
from hmhsa_insert.costs.memory import training_memory
from hmhsa_insert.surgery.base.input import Input, parse_input
from hmhsa_insert.surgery.base.inputs import Inputs
from hmhsa_insert.surgery.edit.splice import inserted_modules
from hmhsa_insert.surgery.sites.site import Plan

EDIT = recipe(insert({"module": "f.3"}, {"type": "irb", "expansion": 1}))


GIVEN: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "scalar": (Scale, [SIZE, ()]),
    "scalar by name": (Scale, {"x": SIZE, "t": ()}),
    "scalar as text": (Scale, [SIZE, "t:float"]),
    "integer": (Timestep, [SIZE, "int64"]),
    "integer by name": (Timestep, [SIZE, "timestep:int64<10"]),
    "int32": (Timestep, {"x": SIZE, "timestep": "int32"}),
    "a table of one row": (lambda: Timestep(1), [SIZE, "timestep:int64"]),
    "constant": (Timestep, {"x": SIZE, "timestep": "int64<10", "scale": 2.0}),
    "image last": (Text, ["12:int64<30", "12:bool", "3x64x64"]),
    "nested": (Nested, [[SIZE, SIZE], {"weight": 0.5}]),
    "bytes": (Bytes, "3x64x64:uint8"),
    "whole": (Grid, [SIZE, "=16x4"]),
    "batch of 8": (Shift, Inputs.of(SIZE, batch=8)),
    "batch of 16": (Shift, Inputs.of(SIZE, batch=16)),
    "batch of 1": (One, Inputs.of(SIZE, batch=1)),
    "example": (Body, torch.randn(3, *SIZE)),
    "examples by position": (Timestep, (torch.randn(2, *SIZE), torch.tensor([9, 4]))),
    "examples by name": (
        Text,
        {"tokens": torch.full((2, 7), 29), "mask": torch.ones(2, 7).bool(), "x": torch.randn(2, *SIZE)},
    ),
    "nested examples": (
        Nested,
        ([torch.randn(2, *SIZE), torch.randn(2, *SIZE)], {"weight": torch.tensor(0.5)}),
    ),
    "an example of 8": (Shift, torch.randn(8, *SIZE)),
    "an example of 1": (Body, torch.randn(1, *SIZE)),
    "an example of the only 1": (One, torch.randn(1, *SIZE)),
    "example and size": (Timestep, [torch.randn(4, *SIZE), "timestep:int64"]),
    "double": (lambda: Scale().double(), [SIZE, ()]),
}


@pytest.mark.parametrize("name", GIVEN)
def test_whatever_is_given_goes_all_the_way(name: str, tmp_path: Path) -> None:
    build, given = GIVEN[name]
    base = build()
    assert hi.locate_stages(base, given)[-1].stride == 4
    edited = hi.apply(base, EDIT, given)
    assert all(check.passed for check in hi.verify(base, edited)), hi.verify(base, edited)
    assert all(check.passed for check in hi.verify(base, edited, given))
    for _, module in inserted_modules(edited):
        nn.init.constant_(module.gamma, 0.5)  # type: ignore[arg-type]
    loaded = hi.load(hi.save(edited, tmp_path / "a"), base=build())
    args, kwargs = Inputs.of(given).drawn(
        next(base.parameters()).dtype, "cpu", 1 if name.endswith("only 1") else 2
    )
    wanted = edited.eval()(*args, **kwargs)
    assert torch.equal(loaded.eval()(*args, **kwargs), wanted)
    assert not torch.equal(base.eval()(*args, **kwargs), wanted)
    base.load_state_dict({key: loaded.state_dict()[key] for key in base.state_dict()})
    assert not all(
        check.passed for check in hi.verify(base, loaded)
    )  # the loaded plan runs, and its block acts


@pytest.mark.parametrize(
    "name", ["integer by name", "image last", "nested", "batch of 8", "examples by position"]
)
def test_costs_are_of_one_sample_with_all_inputs(name: str) -> None:
    build, given = GIVEN[name]
    record = hi.profile(build(), given, memory=True, per="stage")
    images = 2 if name == "nested" else 1
    wanted = images * (3 * 9 * 8 * 32 * 32 + 8 * 9 * 16 * 16 * 16) + (16 * 5 if "8" not in name else 10)
    assert record.macs == wanted
    assert record.crosscheck.finding == ""
    assert record.crosscheck.macs_fvcore == wanted
    assert sum(row.macs for row in record.by_module) == wanted
    assert record.input_size == (3, 64, 64)
    assert record.memory is not None
    assert record.memory.batch == (8 if "8" in name else 2)
    assert set(record.parts) == {"stage 1"} | ({"stage 0"} if images == 1 else set())
    assert count(build(), given).inputs == Inputs.of(given)
    assert training_memory(build(), given).saved_bytes == record.memory.saved_bytes


def test_steps_are_timed_on_all_inputs() -> None:
    from hmhsa_insert.costs.latency import Timing

    timing = Timing(("inference", "training"), rounds=2, warmup=1, shortest_ms=0.1)
    record = hi.profile(Timestep(), [SIZE, "timestep:int64<10"], timing=timing, batch=2)
    assert record.inference is not None
    assert record.inference.batch == 2
    record = hi.profile(Shift(), inputs=Inputs.of(SIZE, batch=8), timing=timing)
    assert record.training is not None
    assert record.training.batch == 8
    assert record.inputs == "3×64×64 in batches of 8"


@pytest.mark.parametrize("name", GIVEN)
def test_json_holds_the_description(name: str) -> None:
    made = Inputs.of(GIVEN[name][1])
    assert Inputs.from_data(json.loads(json.dumps(made.to_data()))) == made


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([3, 64, 64], "3×64×64"),
        ([[3, 64, 64], [3]], "3×64×64, 3"),
        ([[3, 64, 64], []], "3×64×64, float"),
        ({"image": [3, 64, 64], "scale": [3]}, "image:3×64×64, scale:3"),
        ({"inputs": [3, 64, 64], "batch": []}, "inputs:3×64×64, batch:float"),
    ],
)
def test_what_older_releases_wrote_is_read_and_written_again(data: Any, text: str) -> None:
    made = Inputs.from_data(data)
    assert str(made) == text
    assert made.to_data() == data


@pytest.mark.parametrize(
    "data",
    [
        *(None, 3, "abc", [3, -1, 4], [True, 3], [3.5], [[3, "x"]], {"x": 3}, {"*": ["3x64x64"]}, [10**40]),
        *(
            {"*": [{"pickle": "x"}], "**": {}},
            {"*": ["3x4:int65"], "**": {}},
            {"*": [{"value": [1]}], "**": {}},
        ),
        *(
            {"*": ["3x4"], "**": {}, "batch": 0},
            {"*": ["3x4"], "**": {}, "batch": "8"},
            {"*": ["3x4"], "**": {}, "batch": 10**9},
        ),
    ],
)
def test_data_that_describes_nothing_is_no_plan(data: Any) -> None:
    written = hi.plan(Body(), EDIT, SIZE).to_dict()
    with pytest.raises((TypeError, KeyError, ValueError, AttributeError)):
        Plan.from_dict({**written, "input_size": data})


@pytest.mark.parametrize(
    ("text", "name", "wanted"),
    [
        ("3x224x224", None, Input((3, 224, 224))),
        ("x:3×224×224", "x", Input((3, 224, 224))),
        ("timestep:int64", "timestep", Input((), torch.int64)),
        ("tokens:77:int64<49408", "tokens", Input((77,), torch.int64, 49408)),
        ("sigma:float", "sigma", Input()),
        ("=16x4", None, Input((16, 4), batched=False)),
        ("grid:=2x3:float64", "grid", Input((2, 3), torch.float64, batched=False)),
        ("bool", None, Input((), torch.bool)),
        ("x2:5", "x2", Input((5,))),
    ],
)
def test_the_grammar(text: str, name: str | None, wanted: Input) -> None:
    assert parse_input(text) == (name, wanted)
    assert parse_input(str(wanted)) == (None, wanted)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("t:", "'t:' describes no input"),
        ("t:int63", "there is no type 'int63'"),
        ("t", "there is no type 't'"),
        ("3x", "describes no input"),
        ("0x3", "its axes are integers from 1"),
        ("t:float32<3", "<3 is for integers"),
        ("t:int64<0", "<0 is for integers"),
        ("", "describes no input"),
        ([], "no input is described"),
        (3, "no input is described"),
        ((3, -4), "its axes are integers"),
        ([SIZE, object()], "type object cannot be described"),
        ({"t": "t:int64"}, "has a name"),
        ({1: SIZE}, "is not a name for an input"),
    ],
)
def test_what_describes_nothing_is_refused(given: Any, message: str) -> None:
    with pytest.raises(hi.ModelError, match=message.replace("(", r"\(")):
        Inputs.of(given)


def test_no_batch_is_refused() -> None:
    for batch in (0, -1, 2.0, True, 10**9):
        with pytest.raises(hi.ModelError, match="is not a batch size"):
            Inputs.of(SIZE, batch=batch)  # type: ignore[arg-type]


def test_integers_stay_in_range_and_examples_are_taken_as_they_are() -> None:
    made = Inputs.of([SIZE, "int64", "int64<7", "uint8"])
    (_, zeros, below, byte), _ = made.drawn(torch.float32, "cpu", 4000)
    assert set(zeros.tolist()) == {0}
    assert set(below.tolist()) == set(range(7))
    assert set(byte.tolist()) == set(range(256))
    x, t = torch.randn(2, *SIZE), torch.tensor([3, 9])
    made = Inputs.of((x, t))
    args, _ = made.drawn(torch.float32, "cpu")
    assert torch.equal(args[0], x)
    assert torch.equal(args[1], t)
    assert made.to_data() == {"*": ["3x64x64:float32", "int64<10"], "**": {}, "batch": 2}


class Picky(Timestep):
    """Looks at values that only the example has."""

    def forward(self, x: Tensor, timestep: Tensor, scale: float = 1.0) -> Tensor:
        if not torch.compiler.is_compiling() and type(timestep) is Tensor:
            assert bool((timestep == 7).all())
        return super().forward(x, timestep)


def test_real_runs_use_the_values_of_examples() -> None:
    base, examples = Picky(), (torch.randn(2, *SIZE), torch.full((2,), 7))
    edited = hi.apply(base, EDIT, inputs=examples)
    assert all(check.passed for check in hi.verify(base, edited))
    assert all(check.passed for check in hi.verify(base, edited, inputs=examples))
    assert not all(check.passed for check in hi.verify(base, edited, [SIZE, "int64"]))


def test_a_fixed_batch_is_asked_for_where_it_is_needed() -> None:
    with pytest.raises(hi.ModelError, match=r"`Inputs.of\(size, batch=N\)`"):
        hi.apply(Shift(), EDIT, SIZE)
    with pytest.raises(hi.ModelError, match="give all its inputs"):
        hi.apply(Scale(), EDIT, SIZE)


@pytest.mark.skipif(
    Version(torch.__version__) < Version("2.11"),
    reason="on fake tensors, embedding of older releases (2.7 was tried) takes indices that are no integers",
)
def test_integers_are_asked_for_where_they_are_needed() -> None:
    with pytest.raises(hi.ModelError, match="say which inputs are integers"):
        hi.apply(Functional(), EDIT, [SIZE, ()])


class Functional(Timestep):
    def forward(self, x: Tensor, timestep: Tensor, scale: float = 1.0) -> Tensor:
        return self.fc((self.f(x) + F.embedding(timestep, self.t.weight)[:, :, None, None]).mean((2, 3)))
