"""Files of weights that cannot be loaded: what the command line says, and that no code of a pickle is run."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import pytest
import torch
from command_line import error_of
from safetensors.torch import save_file

APPLY = "apply usernet:small -r good.yaml --input-size 64 -o out --weights "
HEAD = "error: the weights cannot be loaded"
DAMAGED = "is damaged, or is not a safetensors file: Error while deserializing header"


class Code:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch code-was-run",)


@pytest.fixture
def network(here: Path) -> torch.nn.Module:
    from importlib import import_module

    sys.path.insert(0, str(here))
    model: torch.nn.Module = import_module("usernet").small()
    return model


def report(name: str) -> list[str]:
    lines = error_of(APPLY + name).splitlines()
    assert not Path("code-was-run").exists()
    return lines


def test_corrupt_and_truncated_safetensors(network) -> None:
    save_file(network.state_dict(), "whole.safetensors")
    data = Path("whole.safetensors").read_bytes()
    for name, content, reason in (
        ("corrupt", b"\xff" * 64, "header too large"),
        ("truncated", data[:-100], "incomplete metadata, file not fully covered"),
        ("header", data[:20], "invalid header length"),
        ("empty", b"", "header too small"),
    ):
        Path(f"{name}.safetensors").write_bytes(content)
        assert report(f"{name}.safetensors") == [HEAD, f"  {name}.safetensors: {DAMAGED}: {reason}"]


def test_a_pickle_with_code_is_not_run(network) -> None:
    torch.save({"weight": Code()}, "code.pth")
    assert report("code.pth") == [
        HEAD,
        "  code.pth: holds code (posix.system), which is not run",
        "    save the state dict alone, best as .safetensors",
    ]
    torch.save(network, "whole.pth")
    assert report("whole.pth") == [
        HEAD,
        "  whole.pth: holds code (torch.nn.modules.container.Sequential), which is not run",
        "    save the state dict alone, best as .safetensors",
    ]
    Path("plain.pth").write_bytes(pickle.dumps(Code()))
    assert report("plain.pth") == [HEAD, "  plain.pth: is damaged, or is not a checkpoint"]


def test_files_that_are_no_checkpoint(network) -> None:
    Path("text.pth").write_bytes(b"once upon a time")
    Path("empty.pth").write_bytes(b"")
    torch.save({"epoch": 3}, "epoch.pth")
    torch.save([1, 2], "list.pth")
    assert report("text.pth") == [HEAD, "  text.pth: is damaged, or is not a checkpoint"]
    assert report("empty.pth") == [HEAD, "  empty.pth: is damaged, or is not a checkpoint"]
    assert report("epoch.pth") == [HEAD, "  epoch.pth: holds no state dict: found epoch"]
    assert report("list.pth") == [HEAD, "  list.pth: holds no state dict: found list"]
    assert report("nothing.pth") == [HEAD, "  nothing.pth: there is no such file"]
    assert report(".") == [HEAD, "  .: is a folder"]


def test_weights_of_another_model(network) -> None:
    state = network.state_dict()
    save_file({key.replace("9.", "head."): tensor for key, tensor in state.items()}, "other.safetensors")
    assert report("other.safetensors") == [
        f"{HEAD} (2 problems)",
        "  other.safetensors: 2 keys of the model missing: 9.weight, 9.bias",
        "    did you mean 'head.weight'?",
        "  other.safetensors: 2 keys the model does not have: head.bias, head.weight",
        "    did you mean '9.bias'?",
    ]
    save_file({**state, "9.weight": torch.zeros(7, 64)}, "shape.safetensors")
    assert report("shape.safetensors") == [
        HEAD,
        "  shape.safetensors: 1 key of another shape: 9.weight (7×64, the model has 5×64)",
    ]


def test_tensors_of_another_kind_are_not_cast_without_a_word(network) -> None:
    state = network.state_dict()
    kinds = {
        "integers": (state["9.bias"].int(), "int32"),
        "complex": (state["9.bias"].to(torch.complex64), "complex64"),
        "sparse": (state["9.bias"].to_sparse(), "sparse_coo float32"),
        "hollow": (state["9.bias"].to("meta"), "meta float32"),
    }
    for name, (tensor, kind) in kinds.items():
        torch.save({**state, "9.bias": tensor}, f"{name}.pth")
        assert report(f"{name}.pth") == [
            HEAD,
            f"  {name}.pth: 1 key of another kind of number: 9.bias ({kind}, the model has float32)",
            "    save plain dense tensors in floating point",
        ]


def test_weights_without_a_finite_output_prove_nothing(network) -> None:
    state = network.state_dict()
    torch.save({**state, "9.bias": torch.full_like(state["9.bias"], torch.nan)}, "nan.pth")
    text = error_of(APPLY + "nan.pth")
    assert "eval outputs: not one output of the base network is finite: nothing can be compared" in text
    assert not Path("out").exists()
