"""``hi.export`` on small networks: what is written agrees, and what is not as it should be leaves nothing behind."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch
from export_nets import Lopsided, Sized, small
from packaging.version import Version
from torch import nn
from torch.nn import functional as F

import hmhsa_insert as hi
from hmhsa_insert.blocks.windows import max_pool, mean_pool
from hmhsa_insert.exporting.asked import Sides
from hmhsa_insert.exporting.formats import FORMATS
from hmhsa_insert.exporting.free import Pool, freed

SIZE = (3, 48, 48)


def refusal(folder: Path, *args: object, **options: object) -> str:
    """Return the one problem of an export that is refused and leaves nothing behind."""
    before = sorted(folder.iterdir())
    with pytest.raises(hi.ExportError) as caught:
        hi.export(*args, **options)  # type: ignore[arg-type]
    assert sorted(folder.iterdir()) == before
    (problem,) = caught.value.problems
    return str(problem)


@pytest.mark.skipif(
    Version(torch.__version__) < Version("2.11"),
    reason="the exporter of older releases (2.7 and 2.8 were tried) refuses a mask of symbolic size",
)
def test_a_program_runs_at_any_batch_and_size(tmp_path: Path) -> None:
    model = small()
    done = hi.export(
        model, tmp_path / "net.pt2", dynamic=("batch", "size"), size=(20, 96), input_size=(3, 50, 64)
    )
    assert (done.to, len(done.compared)) == ("pt2", 6)
    assert done.difference <= 1e-5
    loaded = torch.export.load(tmp_path / "net.pt2").module()
    for shape in [(1, 20, 20), (4, 33, 77), (2, 96, 61), (1, 96, 96), (3, 21, 95)]:
        x = torch.randn(shape[0], 3, *shape[1:])
        with torch.no_grad():
            torch.testing.assert_close(loaded(x), model.eval()(x), atol=1e-5, rtol=0)
    with pytest.raises(AssertionError):
        loaded(torch.randn(1, 3, 100, 50))


@pytest.mark.parametrize("dynamic", [("batch",), ("batch", "size")])
def test_a_program_of_maps_in_channels_last_takes_one_image(dynamic: tuple[str, ...], tmp_path: Path) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.Sequential(nn.Conv2d(3, 8, 16, 16), nn.Conv2d(8, 4, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.convs(x.contiguous(memory_format=torch.channels_last)).mean((2, 3))

    options = {"size": "16..64"} if "size" in dynamic else {}
    done = hi.export(Last(), tmp_path / "net.pt2", dynamic=dynamic, input_size=SIZE, **options)
    assert done.compared[0].inputs.startswith("1×")
    assert done.difference <= 1e-5


def test_a_trace_of_any_batch(tmp_path: Path) -> None:
    model = small({"type": "hmhsa", "head_dim": 8, "grids": [3, 2]}).eval()
    done = hi.export(model, tmp_path / "net.pt", input_size=SIZE)
    assert done.to == "torchscript"
    x = torch.randn(7, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(tmp_path / "net.pt")(x), model(x), atol=1e-5, rtol=0)


def test_onnx_of_one_size_is_one_file(tmp_path: Path) -> None:
    for module in FORMATS["onnx"].modules:
        pytest.importorskip(module)
    done = hi.export(small(), tmp_path / "net.onnx", dynamic=(), input_size=SIZE, opset=20)
    assert done.difference <= 1e-5
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    onnx = importlib.import_module("onnx")
    assert onnx.load(tmp_path / "net.onnx").opset_import[0].version == 20


def test_the_network_is_left_as_it_was(tmp_path: Path) -> None:
    model = small().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    hi.export(model, tmp_path / "net.pt", dynamic=(), input_size=SIZE)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_file_that_does_not_agree_is_not_kept(tmp_path: Path) -> None:
    said = refusal(tmp_path, Sized(), tmp_path / "net.pt", input_size=SIZE, dynamic=("size",), size="32..64")
    assert said.startswith("TorchScript: the file differs from the network by ")
    assert "`to='pt2'` or onnx" in said


def test_an_older_file_stays_where_the_new_one_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "net.pt"
    target.write_bytes(b"older")
    said = refusal(tmp_path, small(), target, input_size=SIZE)
    assert said == f"{target}: a file is here already (choose another name, or replace it: `overwrite=True`)"
    refusal(tmp_path, Sized(), target, input_size=SIZE, dynamic=("size",), size="32..64", overwrite=True)
    assert target.read_bytes() == b"older"
    hi.export(small(), target, input_size=SIZE, dynamic=(), overwrite=True)
    assert torch.jit.load(target)(torch.zeros(1, *SIZE)).shape == (1, 5)


def test_what_torch_cannot_export_is_refused_with_its_reason(tmp_path: Path) -> None:
    said = refusal(
        tmp_path, Lopsided(), tmp_path / "net.pt2", input_size=SIZE, dynamic=["size"], size="32..128"
    )
    assert said.startswith("torch.export: torch cannot export it: Not all values of width")
    assert said.endswith("(another range with `size=RANGE` may do; one size, or any batch alone, does)")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"to": "onyx"}, "to: there is no format 'onyx' (did you mean 'onnx'?)"),
        ({"dynamic": ["batches"]}, "dynamic: there is no axis 'batches' (did you mean 'batch'?)"),
        (
            {"size": "32..64"},
            "size: a range of sizes is for files of any size (`dynamic=('batch', 'size')`)",
        ),
        (
            {"dynamic": ["size"], "size": "64..32"},
            "size: 64..32 is not a range of sizes from 1 to 16384 "
            "(write 64..512, or 64..512:32 for the multiples of 32)",
        ),
        (
            {"dynamic": ["size"], "size": "64-512"},
            "size: '64-512' is not a range (write 64..512, or 64..512:32 for the multiples of 32)",
        ),
        (
            {"dynamic": ["size"], "size": "64..100:32"},
            "size: 64 and 100 are not both multiples of 32 (write 64..512, or 64..512:32 for the multiples of 32)",
        ),
        (
            {"dynamic": ["size"], "size": "64..128"},
            "size: 48, the size that is traced, is not in it: 64 to 128 "
            "(give another range, or another input size)",
        ),
        ({"opset": 18}, "opset: torch.export has no opsets (they are for ONNX)"),
    ],
)
def test_wrong_options_are_refused_before_any_work(
    options: dict[str, object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.export, "export", None)
    assert refusal(tmp_path, small(), tmp_path / "net.pt2", input_size=SIZE, **options) == said


@pytest.mark.parametrize(
    ("opset", "said"), [(12, "opset 12 is too old: torch's exporter writes 18 and newer"), (99, "newer than")]
)
def test_opsets_out_of_range_are_refused(opset: int, said: str, tmp_path: Path) -> None:
    for module in FORMATS["onnx"].modules:
        pytest.importorskip(module)
    assert said in refusal(tmp_path, small(), tmp_path / "net.onnx", input_size=SIZE, opset=opset)


def test_a_missing_extra_is_named_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    said = refusal(tmp_path, small(), tmp_path / "net.onnx", input_size=SIZE)
    assert said == "ONNX: needs the package onnx (pip install 'hmhsa-insert[onnx]')"


def test_sizes_that_the_network_does_not_take_are_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path, small(), tmp_path / "net.pt2", input_size=SIZE, dynamic=["size"], size="2..64")
    assert said.startswith("input: the network does not run on 1×(3×2×2): ")


def test_places_that_cannot_be_written_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.pt2").mkdir()
    said = refusal(tmp_path, small(), tmp_path / "folder.pt2")
    assert said == f"{tmp_path / 'folder.pt2'}: this is a folder (give the name of a file)"
    said = refusal(tmp_path, small(), tmp_path / "no" / "net.pt2")
    assert said == f"{tmp_path / 'no' / 'net.pt2'}: there is no folder '{tmp_path / 'no'}' (make it first)"

    def full(*args: object, **options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkstemp", full)
    said = refusal(tmp_path, small(), tmp_path / "net.pt2")
    assert "nothing can be written in" in said
    assert "Read-only file system" in said


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    said = refusal(tmp_path, small(), tmp_path / "net.pt", input_size=SIZE, dynamic=())
    assert said.startswith(f"{tmp_path / 'net.pt'}: cannot be written: No space left on device")


def test_exporters_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    steps: list[str] = []
    hi.export(small(), tmp_path / "net.pt2", dynamic=(), input_size=SIZE, say=steps.append)
    assert capfd.readouterr() == ("", "")
    assert steps[0] == "running the network"
    assert len(steps) == 5


def test_ranges_of_sizes_have_ragged_ones() -> None:
    sizes = Sides(32, 128).ragged()
    assert (32, 32) in sizes
    assert len(sizes) == 5
    assert any(height % 2 and width % 2 == 0 for height, width in sizes)
    assert all(height in Sides(64, 256, 32) for size in Sides(64, 256, 32).ragged() for height in size)


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (3, 3), (5, 5)])
def test_pools_by_index_are_those_of_torch(kernel: int, stride: int) -> None:
    for size in [(9, 12), (5, 6), (11, 7), (13, 8)]:
        x = torch.randn(2, 3, *size)
        assert torch.equal(max_pool(x, kernel, stride), F.max_pool2d(x, kernel, stride, ceil_mode=True))
        means = F.avg_pool2d(x, kernel, stride, ceil_mode=True)
        torch.testing.assert_close(mean_pool(x, kernel, stride), means)


def test_only_pools_without_padding_are_replaced() -> None:
    pools = nn.Sequential(
        nn.AvgPool2d(2, ceil_mode=True),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.MaxPool2d(2, 3, ceil_mode=True),
        nn.AvgPool2d(2),
        nn.AvgPool2d((2, 3), ceil_mode=True),
    )
    assert [type(each) is Pool for each in freed(pools)] == [True, True, False, False, False, False]
