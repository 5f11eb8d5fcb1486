"""``stages``: the tree a person reads, and the JSON a program reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import output

pytestmark = pytest.mark.usefixtures("here")


def test_the_tree_of_a_users_network() -> None:
    assert output("stages usernet:small --input-size 64") == (
        "usernet:small  Sequential  input 3×64×64\n"
        "├── stage 1  stride 4  16×16×16  1 block\n"
        "│   └── ends of blocks: 1\n"
        "├── stage 2  stride 8  32×8×8  1 block\n"
        "│   └── ends of blocks: 3\n"
        "└── stage 3  stride 16  64×4×4  1 block\n"
        "    └── ends of blocks: 6\n"
    )


def test_a_bare_name_says_which_library_has_it() -> None:
    assert output("stages resnet18").startswith("timm/resnet18  ResNet  input 3×224×224\n")
    assert output("stages googlenet").startswith("torchvision/googlenet  GoogLeNet  input 3×224×224\n")
    assert output("stages torchvision/resnet18").startswith("torchvision/resnet18  ResNet  input")


def test_the_input_size_is_the_models_own_unless_given() -> None:
    assert "input 3×299×299" in output("stages timm/inception_v3").splitlines()[0]
    assert "input 3×96×128" in output("stages resnet18 --input-size 96x128").splitlines()[0]


def test_json_has_stages_and_cut_points_with_their_names() -> None:
    data = json.loads(output("stages resnet18 --json"))
    assert (data["model"], data["class"], data["input_size"]) == ("timm/resnet18", "ResNet", [3, 224, 224])
    assert [stage["index"] for stage in data["stages"]] == [0, 1, 2, 3, 4]
    third = data["stages"][3]
    assert {key: third[key] for key in ("stride", "channels", "height", "width")} == {
        "stride": 16,
        "channels": 256,
        "height": 14,
        "width": 14,
    }
    assert [point["qualname"] for point in third["cut_points"]] == ["layer3.0", "layer3.1"]
    assert "cut_points" not in data


def test_all_cut_points_are_listed_with_their_nodes() -> None:
    lines = output("stages usernet:small --input-size 64 --all-cut-points").splitlines()
    assert lines[7] == "Every map that all paths pass through"
    head, _, *table = [line.split() for line in lines[9:] if line.strip()]
    assert head == ["fx", "node", "stride", "map", "module", "edit"]
    assert [row[3] for row in table] == list("0123456")
    assert table[1][1:] == ["4", "16×16×16", "1", "module", "tree"]
    data = json.loads(output("stages usernet:small --input-size 64 --all-cut-points --json"))
    assert [point["qualname"] for point in data["cut_points"]] == list("0123456")
    assert data["cut_points"][1]["node"] == table[1][0]


def test_the_folder_of_an_artifact(artifacts) -> None:
    tree = output("stages library")
    assert tree.startswith("library (an artifact, from timm/test_resnet)  ResNet  input 3×64×64\n")
    assert "stage 4  stride 32" in tree
    assert output("stages mine --base usernet:small").startswith("mine (an artifact, from usernet:small)")


def test_the_stages_of_a_neck_follow_by_number(here: Path) -> None:
    (here / "unet.py").write_text(
        "import torch.nn.functional as F\n"
        "from torch import nn\n"
        "class UNet(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a, self.b = nn.Conv2d(3, 8, 3, 4, 1), nn.Conv2d(8, 16, 3, 2, 1)\n"
        "        self.c, self.head = nn.Conv2d(16, 8, 3, 1, 1), nn.Conv2d(8, 2, 1)\n"
        "    def forward(self, x):\n"
        "        a = self.a(x)\n"
        "        return self.head(a + self.c(F.interpolate(self.b(a), scale_factor=2)))\n"
    )
    assert output("stages unet:UNet --input-size 64") == (
        "unet:UNet  UNet  input 3×64×64\n"
        "├── stage 1  stride 4  8×16×16  1 block\n"
        "│   └── ends of blocks: a\n"
        "├── stage 2  stride 8  16×8×8  1 block\n"
        "│   └── ends of blocks: b\n"
        "└── neck 1  stride 4  8×16×16  1 block\n"
        "    └── ends of blocks: c\n"
    )
    data = json.loads(output("stages unet:UNet --input-size 64 --json"))
    assert [(stage["part"], stage["index"]) for stage in data["stages"]] == [("backbone", 1), ("backbone", 2)]
    assert [(stage["part"], stage["number"], stage["index"]) for stage in data["neck"]] == [("neck", 1, 1)]
