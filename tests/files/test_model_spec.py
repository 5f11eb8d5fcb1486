"""What a text that names a model means: a folder with a space in its name is not a model in memory."""

import pytest

from hmhsa_insert.files.model_spec import ModelSpec


@pytest.mark.parametrize(
    ("text", "is_code", "is_in_memory", "label"),
    [
        ("resnet50", False, False, "resnet50"),
        ("timm/resnet50.a1_in1k", False, False, "resnet50.a1_in1k"),
        ("timm/hf-hub:timm/resnet18", False, False, "resnet18"),
        ("nets.mine:small", True, False, "small"),
        ("my runs/stage 3/artifact", False, False, "artifact"),
        ("/data/a b", False, False, "a b"),
        ("ResNet 0123456789abcdef", False, True, "ResNet 0123456789abcdef"),
        ("a/ResNet 0123456789abcdef", False, False, "ResNet 0123456789abcdef"),
    ],
)
def test_what_a_text_names(text: str, is_code: bool, is_in_memory: bool, label: str) -> None:
    spec = ModelSpec(text)
    assert (spec.is_code, spec.is_in_memory, spec.label) == (is_code, is_in_memory, label)
