from __future__ import annotations

import dataclasses
import warnings

import pytest
import torch
import unseen_data
import unseen_forwards
import unseen_layers  # these three fill NETS
from torch import nn
from unseen import NETS, Base, R

import hmhsa_insert as hi
from hmhsa_insert.blocks.tdb import Tdb
from hmhsa_insert.surgery.edit.inserted import InsertedResidual, RunsChild

IRB = {"type": "irb", "expansion": 1}


def recipe(at: dict, **more) -> dict:
    return {"version": 1, "edits": [{"op": "insert", "id": "new", "at": at, "block": IRB, **more}]}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NETS)
def test_identity_after_every_block(name: str) -> None:
    """Stages where they are, an identity that is exact, gradients that arrive, and the base network back again."""
    torch.manual_seed(0)
    network, size, strides = NETS[name]
    base = network()
    before = {key: tensor.clone() for key, tensor in base.state_dict().items()}
    found = [stage.stride for stage in hi.locate_stages(base, size)]
    assert found == (strides or [16])
    edited = hi.apply(base, recipe({"stride": found, "block": "each"}), size)
    checks = hi.verify(base, edited, size)
    assert [check for check in checks if not check.passed] == []
    assert all(torch.equal(tensor, before[key]) for key, tensor in base.state_dict().items())
    again = hi.remove(edited).state_dict()
    assert again.keys() == before.keys()
    assert all(torch.equal(again[key], before[key]) for key in before)


def test_there_are_many() -> None:
    assert len(NETS) >= 45
    assert {network.__module__ for network, *_ in NETS.values()} == {
        module.__name__ for module in (unseen_data, unseen_forwards, unseen_layers)
    }


def test_the_head_of_a_pyramid_level_and_a_dense_prediction_are_no_blocks() -> None:
    ends = {
        name: [
            p.qualname for stage in hi.locate_stages(NETS[name][0](), NETS[name][1]) for p in stage.cut_points
        ]
        for name in ("FPNLike", "DenseHead", "AutoPad")
    }
    assert ends["FPNLike"][-1] == ends["DenseHead"][-1] == ends["AutoPad"][-1] == "l3.1"
    assert ends["AutoPad"][0] == "stem.2"  # the padding of the image is not a block either


def test_a_bare_convolution_before_a_pooled_head_stays_a_block() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.AdaptiveAvgPool2d(1)
    )
    (stage,) = hi.locate_stages(net, (3, 32, 32))
    assert [point.qualname for point in stage.cut_points] == ["1", "2"]


def test_lazy_parameters_are_refused_until_they_have_a_shape() -> None:
    class Lazy(Base):
        def __init__(self) -> None:
            super().__init__()
            self.lazy = nn.LazyConv2d(16, 3, padding=1)

        def trunk(self, x):
            return self.lazy(super().trunk(x))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = Lazy()
    message = "lazy.weight: it gets its shape in the first forward, which has not run"
    with pytest.raises(hi.HmhsaInsertError, match=message):
        hi.locate_stages(network, (3, 64, 64))
    network(torch.rand(2, 3, 64, 64))
    assert [stage.stride for stage in hi.locate_stages(network, (3, 64, 64))] == R


def test_several_inputs_are_asked_for() -> None:
    with pytest.raises(hi.HmhsaInsertError, match="give all its inputs"):
        hi.locate_stages(NETS["TwoStream"][0](), (3, 64, 64))


def test_a_map_in_a_dataclass_is_changed_in_a_copy() -> None:
    @dataclasses.dataclass(frozen=True)
    class Out:
        map: torch.Tensor
        note: str = "kept"

    child = InsertedResidual(nn.Identity(), 2, False)
    child.layout = "NCHW"
    host = nn.Module()
    host.add_module("new", child)
    given = Out(torch.ones(1, 2, 3, 3))
    out = RunsChild("new", ("map",)).on_output(host, (), given)
    assert (type(out), out.note) == (Out, "kept")
    assert torch.equal(out.map, 2 * given.map)
    assert torch.equal(given.map, torch.ones(1, 2, 3, 3))


def test_a_scripted_child_is_no_host_and_keeps_its_weights() -> None:
    cls, size, _ = NETS["Scripted"]
    last = hi.locate_stages(cls(), size)[-1].cut_points[-1]
    assert (last.qualname, last.host) == ("sc", None)


@pytest.mark.parametrize("position", ["after", "before"])
def test_a_module_that_runs_all_its_children_is_given_none(position: str) -> None:
    cls, size, _ = NETS["ChildrenLoop"]
    edited = hi.apply(cls(), recipe({"module": "l3"}, position=position), size).eval()
    (name,) = [name for name, module in edited.named_modules() if name.endswith(".new")]
    assert name.rpartition(".")[0] not in ("l2", "l3")
    calls = []
    edited.get_submodule(name).register_forward_hook(lambda *_: calls.append(1))
    edited(torch.rand(1, *size))
    assert calls == [1]


@pytest.mark.parametrize("keep", ["blocks", "none"])
def test_a_downsampler_before_a_module_that_runs_all_its_children(keep: str) -> None:
    cls, size, _ = NETS["ChildrenLoop"]
    edit = {"op": "replace", "id": "tdb", "at": {"downsample": 3}, "block": {"type": "tdb"}, "keep": keep}
    edited = hi.apply(cls(), {"version": 1, "edits": [edit]}, size)
    assert [stage.stride for stage in hi.locate_stages(edited, size)] == R
    (gradients,) = [check for check in hi.verify(cls(), edited, size) if check.name == "gradients"]
    assert gradients.passed
    calls = []
    (tdb,) = [module for module in edited.modules() if isinstance(module, Tdb)]
    tdb.register_forward_hook(lambda *_: calls.append(1))
    edited.eval()(torch.rand(1, *size))
    assert calls == [1]


def test_a_child_that_its_host_would_run_again_goes_elsewhere() -> None:
    cls, size, _ = NETS["HiddenLoop"]
    base = cls()
    edited = hi.apply(base, recipe({"module": "l3"}), size)
    (key,) = [name for name, module in edited.named_modules() if name.endswith("new")]
    assert key.rpartition(".")[0] != "l3"
    assert all(check.passed for check in hi.verify(base, edited))
