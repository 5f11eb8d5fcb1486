"""``apply``: the main job with all its options, and nothing written unless every check passed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import timm
import torch
from command_line import error_of, listing, output, recipe, run
from safetensors.torch import load_file, save_file

import hmhsa_insert as hi
from hmhsa_insert.surgery import verify as verification

SMALL = "apply usernet:small -r good.yaml --input-size 64"


def test_what_it_prints_from_network_to_folder(here) -> None:
    lines = [line.rstrip() for line in output(SMALL + " -o out").splitlines()]
    assert lines[0] == "usernet:small  Sequential  input 3×64×64"
    assert lines[1] == "mine on Sequential at 3×64×64: 1 site"
    checks = [re.split(r"  +", line.strip()) for line in lines if line.startswith(" ok")]
    assert checks == [
        ["ok", "base weights", "13 of 13 base tensors byte-identical"],
        ["ok", "eval outputs", "0", "identical to the base network's on 3×64×64"],
        ["ok", "other size", "runs on 3×128×192 with the base network's shapes"],
        ["ok", "wiring", "10 operations as in the base network, and all"],
        ["ok", "train outputs", "0", "outputs and running statistics identical under one"],
        ["ok", "gradients", "reach 6 of 6 new parameters"],
        ["ok", "blocks act", "each of 1 moves the outputs once its gamma is not"],
    ]
    assert " parameters     11.573 k    28.213 k    +16.640 k   +143.8 %" in lines
    assert lines[-1] == "wrote out (load it with hi.load, or give it as MODEL)"
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "README.md",
        "base.json",
        "manifest.json",
        "model.safetensors",
        "plan.json",
        "recipe.yaml",
    ]


def test_without_an_output_nothing_is_written(here) -> None:
    before = listing(here)
    assert output(SMALL).endswith("nothing was written; -o DIR keeps the result\n")
    assert listing(here) == before


def test_parents_of_the_output_are_made(here) -> None:
    output(SMALL + " -o runs/today/out")
    assert (here / "runs/today/out/plan.json").is_file()
    assert [path.name for path in (here / "runs/today").iterdir()] == ["out"]


def test_the_folder_loads_with_equal_outputs(here) -> None:
    output("apply test_resnet -r good.yaml --input-size 64 -o out")
    model = hi.load("out").eval()
    base = hi.remove(model).eval()
    image = torch.randn(2, 3, 64, 64)
    assert type(model).__name__ == "ResNet"
    with torch.no_grad():
        assert torch.equal(model(image), base(image))


def test_base_weights_from_a_file(here) -> None:
    network = timm.create_model("test_resnet")
    save_file(network.state_dict(), "w.safetensors")
    output("apply test_resnet -r good.yaml --input-size 64 --weights w.safetensors -o out")
    written = load_file("out/model.safetensors")
    assert all(torch.equal(tensor, written[key]) for key, tensor in network.state_dict().items())


def test_the_seed_sets_the_new_weights_alone(here) -> None:
    save_file(timm.create_model("test_resnet").state_dict(), "w.safetensors")
    line = "apply test_resnet -r good.yaml --input-size 64 --weights w.safetensors"
    for name, seed in (("a", ""), ("b", " --seed 0"), ("c", " --seed 7")):
        output(f"{line}{seed} -o {name}")
    first, same, other = (load_file(f"{name}/model.safetensors") for name in "abc")
    assert first.keys() == same.keys() == other.keys()
    assert all(torch.equal(first[key], same[key]) for key in first)
    changed = {key for key in first if not torch.equal(first[key], other[key])}
    assert changed
    assert all(".attn." in key for key in changed)
    assert json.loads(Path("c/plan.json").read_text())["plans"][0]["seed"] == 7


def test_the_graph_backend(here) -> None:
    output("apply test_resnet -r good.yaml --input-size 64 --backend graph -o out")
    assert isinstance(hi.load("out"), torch.fx.GraphModule)
    assert "backend graph, seed 0" in output("show out")


def test_an_older_artifact_is_replaced_only_when_asked(here) -> None:
    output(SMALL + " -o out")
    error_of(SMALL + " -o out")
    (here / "bias.yaml").write_text(recipe(id="second", block="{type: hmhsa, head_dim: 16, qkv_bias: true}"))
    output("apply usernet:small -r bias.yaml --input-size 64 -o out --overwrite")
    files = {name for name in listing(here) if not name.startswith("out/")}
    assert files == {"bias.yaml", "good.yaml", "out", "usernet.py"}
    assert any(".second." in key for key in load_file("out/model.safetensors"))


def test_another_recipe_on_the_folder_of_an_artifact(artifacts: Path) -> None:
    (artifacts / "more.yaml").write_text(recipe("{stage: 2}", id="more"))
    text = output("apply library -r more.yaml -o both")
    assert text.startswith("library (an artifact, from timm/test_resnet)  ResNet  input 3×64×64\n")
    assert "reach 6 of 6 new parameters" in text
    assert "wrote both" in text
    keys = load_file("both/model.safetensors").keys()
    assert any(".attn." in key for key in keys)
    assert any(".more." in key for key in keys)
    assert (artifacts / "both/recipe-2.yaml").is_file()
    shown = output("show both")
    assert shown.count("edited with") == 2
    assert "base network  ResNet, timm/test_resnet\n" in shown
    base = hi.remove(hi.load("both"))
    assert base.state_dict().keys() == timm.create_model("test_resnet").state_dict().keys()


def test_a_folder_of_a_users_network_needs_its_base(artifacts: Path) -> None:
    (artifacts / "more.yaml").write_text(recipe("{stage: 2}", id="more"))
    error_of("apply mine -r more.yaml -o both")
    output("apply mine -r more.yaml -o both --base usernet:small")
    assert (artifacts / "both").is_dir()


def test_a_failed_verification_writes_nothing(here, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_it(*_: object) -> verification.Check:
        return verification.Check("eval outputs", False, 0.5, "max |Δ| 5.0e-01")

    monkeypatch.setattr(verification, "_eval_outputs", break_it)
    before = listing(here)
    result = run(SMALL + " -o out")
    assert result.exit_code == 1
    assert "FAILED" in result.stdout
    assert result.stderr == (
        "error: verification failed\n  eval outputs: max |Δ| 5.0e-01\n    nothing was written\n"
    )
    assert listing(here) == before


def test_brackets_and_colons_in_names_are_not_markup(here) -> None:
    odd = here / "[bold] :smile: [x]"
    odd.mkdir()
    (odd / "r.yaml").write_text(recipe())
    text = output(f"apply usernet:small -r '{odd.name}/r.yaml' --input-size 64 -o '{odd.name}/out'")
    assert f"wrote {odd.name}/out (load it" in text
    assert output(f"recipe check '{odd.name}/r.yaml'") == f"{odd.name}/r.yaml: 1 edit, no problem\n"
    assert output(f"show '{odd.name}/out'").startswith(odd.name)
