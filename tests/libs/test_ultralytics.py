"""Ultralytics' detectors: stages against their own list of layers, exact edits, and all that the library does after."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hmhsa_insert as hi
from hmhsa_insert.surgery.proof.twice import randomize_norms

pytestmark = pytest.mark.libs
ultralytics = pytest.importorskip("ultralytics")

NETWORKS = (
    *("yolov5n", "yolov8n", "yolo11n", "yolo26n"),
    *("yolo11n-seg", "yolo11n-cls", "yolo11n-obb", "rtdetr-l"),
)
SIZE = (3, 64, 64)
# Computed before the resolution grows again, and listed with the head: RT-DETR's attention on the deepest map.
BEYOND_THE_LIST = {"rtdetr-l": {"model.11"}}
NECK = {
    "yolov5n": [(3, 13), (2, 17), (3, 20), (4, 23)],
    "yolov8n": [(3, 12), (2, 15), (3, 18), (4, 21)],
    "yolo11n": [(3, 13), (2, 16), (3, 19), (4, 22)],
    "yolo26n": [(3, 13), (2, 16), (3, 19), (4, 22)],
    "yolo11n-seg": [(3, 13), (2, 16), (3, 19), (4, 22), (1, 23)],  # the last: the prototypes of masks
    "yolo11n-cls": [],
    "yolo11n-obb": [(3, 13), (2, 16), (3, 19), (4, 22)],
    "rtdetr-l": [(3, 16), (2, 21), (3, 24), (4, 27)],
}


class Case:
    """One network of the library and what `hi.apply` made of it, its blocks at work."""

    def __init__(self, name: str, recipe: dict[str, Any]) -> None:
        self.name = name
        self.open = ultralytics.RTDETR if name.startswith("rtdetr") else ultralytics.YOLO
        self.base = self.open(f"{name}.yaml").model
        randomize_norms(self.base)
        self.edited = hi.apply(self.base, recipe, SIZE)
        self.acting = copy.deepcopy(self.edited).eval()
        with torch.no_grad():
            for key, parameter in self.acting.named_parameters():
                if key.endswith("added.gamma"):
                    parameter.fill_(0.5)


@pytest.fixture(scope="module", params=NETWORKS)
def case(request: pytest.FixtureRequest, recipe_at: Any) -> Case:
    return Case(request.param, recipe_at({"stage": [2, 3, 4]}))


def outputs(model: nn.Module) -> Tensor:
    """Return what `model` predicts for one image; the first of several tensors."""
    image = torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = model.eval().float()(image)
    while not isinstance(found, Tensor):
        found = found[0]
    return found


def inserted(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_modules() if name.endswith(".added")]


def test_the_stages_are_those_of_the_list_of_backbone_layers(case: Case) -> None:
    last = _last_layers(case.base)
    assert set(last) >= {4, 8, 16, 32}
    stages = {stage.stride: stage for stage in hi.locate_stages(case.base, SIZE)}
    for stride in (8, 16, 32):
        names = [point.qualname for point in stages[stride].cut_points]
        beyond = BEYOND_THE_LIST.get(case.name, set())
        assert [name for name in names if name not in beyond][-1] == last[stride]
        assert set(names[names.index(last[stride]) + 1 :]) == (beyond if stride == 32 else set())


def _last_layers(model: nn.Module) -> dict[int, str]:
    """Return the last layer of the YAML file's ``backbone:`` at each stride, by running the layers."""
    last: dict[int, str] = {}
    layers = list(model.model)[: len(model.yaml["backbone"])]

    def note(name: str) -> Any:
        def hook(module: nn.Module, args: Any, out: Tensor) -> None:
            last[SIZE[1] // out.shape[-1]] = name

        return hook

    handles = [layer.register_forward_hook(note(f"model.{i}")) for i, layer in enumerate(layers)]
    outputs(model)
    for handle in handles:
        handle.remove()
    return last


def test_the_stages_of_the_neck_are_the_levels_up_and_down_again(case: Case) -> None:
    found = hi.locate_stages(case.base, SIZE, part="neck")
    ends = [(stage.index, stage.cut_points[-1].qualname) for stage in found]
    assert ends == [(index, f"model.{layer}") for index, layer in NECK[case.name]]


def test_the_edit_is_the_identity_and_keeps_every_tensor(case: Case) -> None:
    assert len(inserted(case.edited)) == 3
    checks = {check.name: check for check in hi.verify(case.base, case.edited)}
    assert [name for name, check in checks.items() if not check.passed] == []
    assert (checks["eval outputs"].value, checks["train outputs"].value) == (0.0, 0.0)
    assert torch.equal(outputs(case.edited), outputs(case.base))
    assert not torch.equal(outputs(case.acting), outputs(case.base))
    state = case.edited.state_dict()
    assert all(torch.equal(state[key], value) for key, value in case.base.state_dict().items())


def test_copies_and_files_hold_the_blocks(case: Case, tmp_path: Path) -> None:
    expected = outputs(case.acting)
    assert torch.equal(outputs(copy.deepcopy(case.acting)), expected)
    loaded = case.open(_saved(case, tmp_path)).model
    assert inserted(loaded) == inserted(case.acting)
    assert torch.equal(outputs(loaded), expected)


def _saved(case: Case, folder: Path) -> str:
    """Write a checkpoint as the library's trainer does, and return its path."""
    file = folder / "edited.pt"
    torch.save({"model": case.acting, "train_args": {}, "epoch": -1}, file)
    return str(file)


def test_fusing_keeps_the_outputs_and_the_blocks(case: Case) -> None:
    fused = copy.deepcopy(case.acting).eval()
    norms = _norms(fused)
    fused = fused.fuse()
    assert _norms(fused) < norms
    assert inserted(fused) == inserted(case.acting)
    if case.name != "rtdetr-l":  # it sorts its predictions, and rounding swaps neighbours
        torch.testing.assert_close(outputs(fused), outputs(case.acting), rtol=1e-3, atol=1e-3)


def _norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_the_librarys_export_to_onnx_computes_the_same(case: Case, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    network = case.open(_saved(case, tmp_path))
    file = network.export(format="onnx", imgsz=SIZE[1], verbose=False)
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    image = torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(0)).numpy()
    found = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: image})[0])
    expected = outputs(case.open(_saved(case, tmp_path)).model)
    assert found.shape == expected.shape
    if case.name != "rtdetr-l":
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_removing_gives_back_the_network(case: Case) -> None:
    restored = hi.remove(case.edited)
    state, wanted = restored.state_dict(), case.base.state_dict()
    assert type(restored) is type(case.base)
    assert list(state) == list(wanted)
    assert all(torch.equal(state[key], value) for key, value in wanted.items())
    assert torch.equal(outputs(restored), outputs(case.base))
