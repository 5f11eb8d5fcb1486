"""What cannot be used, of sources, exports and other libraries: each is one line, word for word, and leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

import hmhsa_insert as hi

pytestmark = pytest.mark.libs

PICKLE = (
    "this file is a pickle, and reading one runs any code that its author put in (if you trust it: "
    "`unsafe_pickle=True`)"
)
UNREADABLE = "it has no configuration that can be read: "
OPSETS = "(leave it out, or give 18 to 28)"
RANGE = "(write 64..512, or 64..512:32 for the multiples of 32)"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the files that the cases name."""
    for name in ("ultralytics", "transformers", "segmentation_models_pytorch", "onnxscript"):
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    Path("junk.pt").write_text("hello")
    torch.save({"a": torch.zeros(2)}, "plain.pt")
    for name, text in (("alien", '{"model_type": "alien"}'), ("cut", "{"), ("typeless", json.dumps({}))):
        Path(name).mkdir()
        Path(name, "config.json").write_text(text)
    Path("there.onnx").write_text("mine")
    return tmp_path


def loaded(spec: str, **options: Any) -> Callable[[], object]:
    return lambda: hi.load_model(spec, **options)


def exported(path: str, **options: Any) -> Callable[[], object]:
    return lambda: hi.export(timm.create_model("test_resnet"), path, input_size=(3, 64, 64), **options)


CASES: dict[str, tuple[Callable[[], object], str]] = {
    "no such library": (
        loaded("ultralitics/yolo11n.yaml"),
        "ultralitics/yolo11n.yaml: there is no such folder, and no library 'ultralitics' (write timm/NAME, "
        "torchvision/NAME, ultralytics/yolo11n.yaml, transformers/FOLDER, smp/Unet:resnet34, hf-hub:USER/NAME or "
        "package.module:factory)",
    ),
    "no such YOLO": (
        loaded("ultralytics/yolo11.yml"),
        "ultralytics/yolo11.yml: ultralytics has no network 'yolo11.yml' (did you mean 'yolo11.yaml', 'yolo11x.yaml' "
        "or 'yolo11s.yaml'?)",
    ),
    "a checkpoint without the flag": (loaded("ultralytics/plain.pt"), f"ultralytics/plain.pt: {PICKLE}"),
    "no file": (
        loaded("ultralytics/none.pt"),
        "ultralytics/none.pt: there is no such file (ultralytics/yolo11n.yaml needs none)",
    ),
    "no checkpoint": (
        loaded("ultralytics/junk.pt", unsafe_pickle=True),
        "ultralytics/junk.pt: it cannot be built: ERROR ❌️ junk.pt is not a loadable checkpoint",
    ),
    "another's checkpoint": (
        loaded("ultralytics/plain.pt", unsafe_pickle=True),
        "ultralytics/plain.pt: it cannot be built: ERROR ❌️ plain.pt references types outside the supported",
    ),
    "an option that a factory has not": (
        loaded("ultralytics/yolo11n.yaml", nonsense=3),
        "ultralytics/yolo11n.yaml: it cannot be built: DetectionModel.__init__() got an unexpected keyword argument "
        "'nonsense'",
    ),
    "a folder of an unknown type": (
        loaded("transformers/alien"),
        f"transformers/alien: {UNREADABLE}The checkpoint you are trying to load has model type `alien`",
    ),
    "a damaged configuration": (
        loaded("transformers/cut"),
        f"transformers/cut: {UNREADABLE}It looks like the config file at 'cut/config.json' is not a valid JSON file.",
    ),
    "a configuration without a type": (
        loaded("transformers/typeless"),
        f"transformers/typeless: {UNREADABLE}Unrecognized model in typeless.",
    ),
    "no such decoder": (
        loaded("smp/Unett:resnet34"),
        "smp/Unett:resnet34: smp has no decoder 'Unett' (did you mean 'Unet', 'MAnet' or 'UPerNet'?)",
    ),
    "no such encoder": (
        loaded("smp/Unet:resnet35"),
        "smp/Unet:resnet35: smp has no encoder 'resnet35' (did you mean 'resnet50', 'resnet34' or 'resnet152'?)",
    ),
    "no encoder": (loaded("smp/FPN"), "smp/FPN: it names no encoder (write smp/FPN:resnet34)"),
    "no repository": (
        loaded("hf-hub:a/b/c"),
        "hf-hub:a/b/c: this does not name a repository (write USER/NAME; of letters, digits, '-', '_' and '.')",
    ),
    "an opset that is too old": (
        exported("n.onnx", opset=5),
        f"opset: opset 5 is too old: torch's exporter writes 18 and newer {OPSETS}",
    ),
    "an opset that is too new": (
        exported("n.onnx", opset=999),
        f"opset: opset 999 is newer than 28, the newest of onnx 1.23.2 {OPSETS}",
    ),
    "an opset of a program": (
        exported("n.pt2", opset=18),
        "opset: torch.export has no opsets (they are for ONNX)",
    ),
    "no such format": (exported("n", to="onx"), "to: there is no format 'onx' (did you mean 'onnx'?)"),
    "no such ending": (
        exported("n.pth"),
        "n.pth: its ending names no format (endings: .onnx, .pt2, .pt; or name the format as well)",
    ),
    "no such axis": (
        exported("n.pt2", dynamic=("batch", "height")),
        "dynamic: there is no axis 'height' (write batch or size, or both)",
    ),
    "a range without its axis": (
        exported("n.pt2", size="64..128"),
        "size: a range of sizes is for files of any size (`dynamic=('batch', 'size')`)",
    ),
    "no range": (
        exported("n.pt2", dynamic=("size",), size="a..b"),
        f"size: 'a..b' is not a range {RANGE}",
    ),
    "a range that no image has": (
        exported("n.pt2", dynamic=("size",), size="64..10000000"),
        f"size: 64..10000000 is not a range of sizes from 1 to 16384 {RANGE}",
    ),
    "a range without its multiples": (
        exported("n.pt2", dynamic=("size",), size="64..70:32"),
        f"size: 64 and 70 are not both multiples of 32 {RANGE}",
    ),
    "a range without the traced size": (
        exported("n.pt2", dynamic=("size",), size="96..128"),
        "size: 64, the size that is traced, is not in it: 96 to 128 (give another range, or another input size)",
    ),
    "a file that is there": (
        exported("there.onnx"),
        "there.onnx: a file is here already (choose another name, or replace it: `overwrite=True`)",
    ),
    "no such folder": (exported("no/n.onnx"), "no/n.onnx: there is no folder 'no' (make it first)"),
    "a trainer without its recipe": (
        lambda: hi.integrations.ultralytics.trainer("nothing.yaml"),
        "nothing.yaml: no such file, and no shipped recipe of that name "
        "(`hmhsa-insert recipes` lists the shipped ones)",
    ),
    "an encoder of no network": (
        lambda: hi.integrations.smp.register_encoder("mine", "resnet18"),
        "mine: an encoder is made of a network, and this is of type str (hi.load_model(NAME).model builds one)",
    ),
    "an encoder that smp has": (
        lambda: hi.integrations.smp.register_encoder("resnet18", nn.Identity()),
        "resnet18: smp has an encoder of this name (choose another one)",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line_and_leaves_nothing(name: str, here: Path) -> None:
    call, line = CASES[name]
    before = sorted(here.rglob("*"))
    with pytest.raises(hi.HmhsaInsertError) as error:
        call()
    (problem,) = error.value.problems
    # Of the other libraries' own words only the beginning is held.
    assert str(problem).startswith(line)
    assert "\n" not in str(problem)
    assert sorted(here.rglob("*")) == before
    assert Path("there.onnx").read_text() == "mine"
