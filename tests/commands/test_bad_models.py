"""Networks and options that cannot be used: what the command line says, word for word."""

from __future__ import annotations

import copy

import pytest
import torch
from command_line import error_of, recipe
from torch import nn

import hmhsa_insert as hi

MODEL = "error: the model cannot be used"
OPTION = "error: this cannot be done"
FORMS = (
    "    write timm/NAME, torchvision/NAME, ultralytics/yolo11n.yaml, transformers/FOLDER, smp/Unet:resnet34, "
    "hf-hub:USER/NAME or package.module:factory"
)
NAMES = "    `hmhsa-insert models PATTERN` lists names"
SIZES = "    write 224, 320x480 (H×W) or 1x28x28 (C×H×W)"

# The MODEL argument, then the report.
MODELS = {
    "resnet05": (
        "  resnet05: neither timm nor torchvision has a network of this name",
        "    did you mean 'resnet50', 'resnet51q' or 'resnet50t'?",
    ),
    "timm/resnet05": (
        "  timm/resnet05: timm has no network 'resnet05'",
        "    did you mean 'resnet50', 'resnet51q' or 'resnet50t'?",
    ),
    "torchvision/resnet05": (
        "  torchvision/resnet05: torchvision has no network 'resnet05'",
        "    did you mean 'resnet50', 'resnet152' or 'resnet101'?",
    ),
    "'what is this'": ("  what is this: neither timm nor torchvision has a network of this name", NAMES),
    "''": ("  MODEL: neither timm nor torchvision has a network of this name", NAMES),
    "timn/resnet50": ("  timn/resnet50: there is no such folder, and no library 'timn'", FORMS),
    "./out": ("  ./out: there is no such folder, and no library '.'", FORMS),
    "usernet.small": (
        "  usernet.small: neither timm nor torchvision has a network of this name",
        "    write a function of your own as usernet:small",
    ),
    "usernet:": ("  usernet:: this does not name a function", FORMS),
    "usernet:smal": ("  usernet:smal: 'usernet' has no 'smal'", "    did you mean 'small'?"),
    "usernet:NETWORK": (
        "  usernet:NETWORK: 'NETWORK' is of type Sequential, not a function that returns a network",
    ),
    "usernet:broken": ("  usernet:broken: the factory raised RuntimeError: no luck",),
    "usernet:needs": (
        "  usernet:needs: the factory raised TypeError: needs() missing 1 required positional argument: 'width'",
        "    it is called without arguments",
    ),
    "usernet:number": ("  usernet:number: the factory returned int, not a torch.nn.Module",),
    "nowhere:small": (
        "  nowhere:small: module 'nowhere' cannot be imported: No module named 'nowhere'",
        "    it must be in this folder, or installed",
    ),
    "usernet:script": ("  usernet:script: the factory raised SystemExit: 2",),
    "resnet18.no_such_tag": (
        "  timm/resnet18.no_such_tag: it cannot be built: Invalid pretrained tag (no_such_tag) for resnet18.",
    ),
}


@pytest.mark.parametrize("model", MODELS)
def test_what_is_said_of_a_model(here, model: str) -> None:
    report = [MODEL, *MODELS[model]]
    assert error_of(f"stages {model}").splitlines() == report
    assert error_of(f"apply {model} -r good.yaml -o out").splitlines() == report


# The options of apply, then the report.
OPTIONS = {
    "--input-size 22x": (OPTION, "  --input-size: '22x' is not a size", SIZES),
    "--input-size 0": (OPTION, "  --input-size: '0' is not a size", SIZES),
    "--input-size 1x2x3x4": (OPTION, "  --input-size: '1x2x3x4' is not a size", SIZES),
    "--input-size 4x64x64": (
        MODEL,
        "  Sequential: its forward failed on an input of 4×64×64: Given groups=1, weight of size [16, 3, 4, 4], "
        "expected input[2, 4, 64, 64] to have 3 channels, but got 4 channels instead",
        "    give the size it takes with --input-size SIZE; one batch only with --fixed-batch N",
    ),
    "--pretrained": (
        MODEL,
        "  usernet:small: a factory of your own gives its network the weights it should have",
        "    leave --pretrained out, or give --weights FILE",
    ),
    "--pretrained --weights w.safetensors": (
        "error: the weights cannot be loaded",
        "  --pretrained: a network starts with one set of weights",
        "    give it or --weights FILE",
    ),
    "--base usernet:small": (
        MODEL,
        "  --base: it is for the folder of an artifact, and 'usernet:small' is not one",
        "    to edit that network itself, give it as MODEL: usernet:small",
    ),
    "--plugin nowhere": (
        OPTION,
        "  --plugin: module 'nowhere' cannot be imported: No module named 'nowhere'",
        "    modules of the current folder and installed ones can be named, as package.module",
    ),
}


@pytest.mark.parametrize("options", OPTIONS)
def test_what_is_said_of_an_option(here, options: str) -> None:
    assert error_of(f"apply usernet:small -r good.yaml -o out {options}").splitlines() == [*OPTIONS[options]]


def test_a_network_without_published_weights(here) -> None:
    assert error_of("apply irb_tiny -r stage3 --pretrained -o out").splitlines() == [
        MODEL,
        "  timm/irb_tiny: its pretrained weights are not available: No pretrained weights exist for irb_tiny. "
        "Use `pretrained=False` for random init.",
        "    a file of weights can be given: --weights FILE",
    ]


def test_a_size_the_network_does_not_take(here) -> None:
    assert error_of("stages vit_tiny_patch16_224 --input-size 100").splitlines() == [
        MODEL,
        "  VisionTransformer: its forward failed on an input of 3×100×100: Input height (100) doesn't match "
        "model (224).",
        "    give the size it takes with --input-size SIZE; one batch only with --fixed-batch N",
    ]


def test_names_that_no_list_has(here) -> None:
    assert error_of("blocks hmhas").splitlines() == [
        "error: the block cannot be built",
        "  type: there is no block type 'hmhas'",
        "    did you mean 'hmhsa' or 'mhsa'?",
    ]
    assert error_of("models zzzqq").splitlines() == [
        MODEL,
        "  zzzqq: no network's name matches",
        "    write a pattern such as 'resnet*'",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("apply resnet18", "Missing option '--recipe' / '-r'."),
        ("apply", "Missing argument 'MODEL'."),
        ("stages", "Missing argument 'MODEL'."),
        ("show", "Missing argument 'DIR'."),
        ("aply resnet18", "No such command 'aply'. Did you mean 'apply'?"),
        ("apply resnet18 -r stage3 --backend x", "Invalid value for '--backend'"),
        ("apply resnet18 -r stage3 --seed x", "Invalid value for '--seed'"),
        ("stages resnet18 --inputsize 3", "No such option: --inputsize"),
    ],
)
def test_usage(here, line: str, message: str) -> None:
    report = error_of(line, code=2)
    assert report.startswith("Usage: hmhsa-insert ")
    assert message in report


def wrapped(model: nn.Module, kind: str) -> nn.Module:
    if kind == "OptimizedModule":
        return torch.compile(model, backend="eager")
    if kind == "DataParallel":
        return nn.DataParallel(model)
    if kind == "ScriptModule":
        return torch.jit.script(model)
    return nn.parallel.DistributedDataParallel(model)


INNER = "apply the recipe to the inner model (`.module`) and wrap the result"
WRAPPERS = {
    "DistributedDataParallel": f"this is a wrapper, not a network that can be edited ({INNER})",
    "DataParallel": f"this is a wrapper, not a network that can be edited ({INNER})",
    "OptimizedModule": "this is a wrapper, not a network that can be edited "
    "(apply the recipe to the original model and compile the result)",
    "ScriptModule": "a scripted model cannot be edited (use the Python model)",
}


@pytest.fixture
def group(tmp_path):
    """Start a process group of one, without which DDP cannot be built."""
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("group")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", WRAPPERS)
def test_wrapped_and_compiled_models_are_refused_with_the_reason(kind: str) -> None:
    model = wrapped(nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU()), kind)
    before = copy.deepcopy(model.state_dict())
    edit = {"op": "insert", "id": "a", "at": {"stage": 1}, "block": {"type": "hmhsa", "head_dim": 8}}
    with pytest.raises(hi.ModelError) as caught:
        hi.apply(model, {"version": 1, "edits": [edit]}, (3, 32, 32))
    assert str(caught.value) == f"{kind}: {WRAPPERS[kind]}"
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_the_meta_device_is_not_left_behind_by_planning(here) -> None:
    (here / "fresh_module.py").write_text((here / "usernet.py").read_text())
    (here / "r.yaml").write_text(recipe())
    loaded = hi.load_model("fresh_module:small", meta=True)
    assert next(loaded.model.parameters()).is_meta
    import fresh_module

    assert not fresh_module.MEAN.is_meta
    assert not next(fresh_module.NETWORK.parameters()).is_meta
