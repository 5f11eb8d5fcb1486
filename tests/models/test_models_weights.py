import argparse
import collections
import copy
import pickle

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

import hmhsa_insert as hi
from hmhsa_insert.errors import Problem, WeightsError
from hmhsa_insert.models import read_state_dict


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(collections.OrderedDict(first=nn.Linear(3, 4), second=nn.BatchNorm1d(4)))


@pytest.fixture
def state(model):
    """Other values than the model's, for all of its keys."""
    return {k: v + 1 for k, v in copy.deepcopy(model).state_dict().items()}


def assert_loaded(model, state):
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key


def problems_of(model, path, **kwargs):
    """Return what `load_weights` reports, having checked that the model is as it was."""
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(WeightsError) as error:
        hi.load_weights(model, path, **kwargs)
    assert_loaded(model, before)
    return list(error.value.problems)


WRAPPED = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model": lambda state: {"model": state, "args": argparse.Namespace(lr=0.1)},
    "nested": lambda state: {"model": {"state_dict": state}},
    "ddp": lambda state: {f"module.{k}": v for k, v in state.items()},
    "model-ddp": lambda state: {"model": {f"module.{k}": v for k, v in state.items()}},
}


@pytest.mark.parametrize("wrap", WRAPPED)
@pytest.mark.parametrize("suffix", ["pth", "pt"])
def test_pickles_in_the_usual_containers(model, state, tmp_path, wrap, suffix):
    path = tmp_path / f"weights.{suffix}"
    torch.save(WRAPPED[wrap](state), path)
    assert hi.load_weights(model, path) is model
    assert_loaded(model, state)


def test_safetensors(model, state, tmp_path):
    save_file(state, tmp_path / "weights.safetensors")
    hi.load_weights(model, str(tmp_path / "weights.safetensors"))
    assert_loaded(model, state)


def test_a_model_that_is_called_model_is_not_unwrapped(tmp_path):
    network = nn.ModuleDict({"model": nn.Linear(2, 2)})
    state = {k: v + 1 for k, v in network.state_dict().items()}
    torch.save(state, tmp_path / "w.pth")
    hi.load_weights(network, tmp_path / "w.pth")
    assert_loaded(network, state)


def test_hat_nets_unused_norm_is_tolerated_by_name(tmp_path):
    network = timm.create_model("hat_net_tiny", num_classes=2)
    state = {k: torch.randn_like(v) for k, v in network.state_dict().items()}
    extra = {k.replace("attn.norm", "attn.proj_norm"): v + 1 for k, v in state.items() if "attn.norm" in k}
    assert len(extra) == 26
    save_file(state | extra, tmp_path / "w.safetensors")
    hi.load_weights(network, tmp_path / "w.safetensors")
    assert_loaded(network, state)
    save_file(state | {"blocks.0.0.attn.proj_norm.scale": torch.ones(1)}, tmp_path / "w.safetensors")
    (problem,) = problems_of(network, tmp_path / "w.safetensors")
    assert problem.message == "1 key the model does not have: blocks.0.0.attn.proj_norm.scale"


def test_a_models_own_proj_norm_is_loaded(tmp_path):
    network = nn.ModuleDict({"proj_norm": nn.LayerNorm(3)})
    state = {k: v + 1 for k, v in network.state_dict().items()}
    torch.save(state, tmp_path / "w.pth")
    hi.load_weights(network, tmp_path / "w.pth")
    assert_loaded(network, state)


def test_missing_unexpected_and_mismatched_keys_all_at_once(model, state, tmp_path):
    path = tmp_path / "w.pth"
    state["frist.weight"] = state.pop("first.weight")
    state["first.bias"] = torch.ones(5)
    torch.save(state, path)
    assert problems_of(model, path) == [
        Problem(str(path), "1 key of the model missing: first.weight", "did you mean 'frist.weight'?"),
        Problem(str(path), "1 key the model does not have: frist.weight", "did you mean 'first.weight'?"),
        Problem(str(path), "1 key of another shape: first.bias (5, the model has 4)"),
    ]


def test_long_lists_are_cut(model, tmp_path):
    torch.save({f"other.{i}": torch.ones(1) for i in range(9)}, tmp_path / "w.pth")
    first, second = problems_of(model, tmp_path / "w.pth")
    listed = "first.weight, first.bias, second.weight, second.bias, and 3 more"
    assert first.message == f"7 keys of the model missing: {listed}"
    assert second.message == "9 keys the model does not have: other.0, other.1, other.2, other.3, and 5 more"


def test_not_strict_takes_what_fits_but_no_other_shape(model, state, tmp_path):
    path = tmp_path / "w.pth"
    before = copy.deepcopy(model.state_dict())
    torch.save({"first.weight": state["first.weight"], "extra": torch.ones(1)}, path)
    hi.load_weights(model, path, strict=False)
    assert_loaded(model, before | {"first.weight": state["first.weight"]})
    torch.save({"first.weight": torch.ones(4, 9)}, path)
    assert problems_of(model, path, strict=False) == [
        Problem(str(path), "1 key of another shape: first.weight (4×9, the model has 4×3)")
    ]


def test_missing_file_and_folder(model, tmp_path):
    path = tmp_path / "nothing.pth"
    assert problems_of(model, path) == [Problem(str(path), "there is no such file")]
    assert problems_of(model, tmp_path) == [Problem(str(tmp_path), "is a folder")]


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("damage", ["empty", "garbage", "cut"])
def test_damaged_files(model, state, tmp_path, suffix, damage):
    path = tmp_path / f"w.{suffix}"
    if suffix == "pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    content = {"empty": b"", "garbage": b"not weights at all" * 9, "cut": path.read_bytes()[:-200]}[damage]
    path.write_bytes(content)
    (problem,) = problems_of(model, path)
    assert problem.where == str(path)
    assert problem.message.startswith("is damaged, or is not a ")


class Evil:
    def __reduce__(self):
        return (print, ("this must never run",))


def test_code_in_a_pickle_is_not_run(model, tmp_path, capsys):
    path = tmp_path / "w.pth"
    torch.save({"first.weight": Evil()}, path)
    (problem,) = problems_of(model, path)
    assert problem.message == "holds code (print), which is not run"
    assert problem.tip == "save the state dict alone, best as .safetensors"
    path.write_bytes(pickle.dumps({"first.weight": Evil()}, protocol=2))
    problems_of(model, path)
    assert "never" not in capsys.readouterr().out


def test_a_whole_model_in_a_pickle_is_refused(model, tmp_path):
    path = tmp_path / "w.pth"
    torch.save(model, path)
    (problem,) = problems_of(model, path)
    assert problem.message.startswith("holds code (torch.nn.modules.")


def test_what_is_no_state_dict(model, tmp_path):
    path = tmp_path / "w.pth"
    torch.save([torch.ones(1)], path)
    assert problems_of(model, path) == [Problem(str(path), "holds no state dict: found list")]
    torch.save({"epoch": 3, "loss": 0.1}, path)
    assert problems_of(model, path) == [Problem(str(path), "holds no state dict: found epoch, loss")]
    torch.save({}, path)
    assert problems_of(model, path) == [Problem(str(path), "holds no state dict: found nothing")]


def test_read_state_dict_is_on_the_cpu_and_plain(state, tmp_path):
    torch.save({"model": state}, tmp_path / "w.pth")
    found = read_state_dict(tmp_path / "w.pth")
    assert found.keys() == state.keys()
    assert all(value.device.type == "cpu" for value in found.values())


def test_released_checkpoint_of_transcnn_round_trips(tmp_path):
    network = timm.create_model("transcnn_tiny", num_classes=2)
    state = {k: v + 1 for k, v in network.state_dict().items()}
    torch.save({"model": state}, tmp_path / "w.pth")
    hi.load_weights(network, tmp_path / "w.pth")
    assert_loaded(network, state)
