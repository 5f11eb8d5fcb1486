"""The artifact: what is saved is loaded bit for bit, and what is loaded can be undone bit for bit."""

from __future__ import annotations

import copy
import json
import os
import pickletools
import stat
from pathlib import Path

import pytest
import safetensors
import timm
import torch
from edits import SIZE, image, insert, recipe
from nets import InForward, Plain, Tied
from torch import nn

import hmhsa_insert as hi
from hmhsa_insert.surgery.edit.splice import inserted_modules, ledgers


def trained(model: nn.Module) -> nn.Module:
    """Return `model` with every floating tensor moved, as training would, so that nothing is at its initial value."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in {id(t): t for t in model.state_dict(keep_vars=True).values()}.values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape, generator=generator).to(tensor.dtype) * 0.1)
    return model


def run(model: nn.Module, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model.eval()(image().to(dtype))
    return out


def same_state(one: nn.Module, two: nn.Module) -> bool:
    left, right = one.state_dict(), two.state_dict()
    return list(left) == list(right) and all(
        left[key].dtype == right[key].dtype and torch.equal(left[key], right[key]) for key in left
    )


def small(**options: object) -> nn.Module:
    model: nn.Module = timm.create_model("test_resnet", **options)
    return model


@pytest.mark.parametrize("backend", ["tree", "graph"])
@pytest.mark.parametrize("factory", [pytest.param(Plain, marks=pytest.mark.long), InForward, small])
def test_load_gives_what_was_saved(tmp_path: Path, backend: str, factory) -> None:
    stages = {"stride": [s.stride for s in hi.locate_stages(factory(), SIZE)], "block": "each"}
    model = trained(hi.apply(factory(), recipe(insert(stages)), SIZE, backend=backend))
    model = copy.deepcopy(copy.deepcopy(model))  # as an average of weights is
    folder = hi.save(model, tmp_path / "out")
    again = hi.load(folder, base=None if factory is small else factory())
    assert backend == "graph" or type(again).__name__ == type(model).__name__
    assert isinstance(again, torch.fx.GraphModule) == (backend == "graph")
    assert same_state(model, again)
    assert torch.equal(run(model), run(again))
    model.train(), again.train()
    torch.manual_seed(2)
    wanted = model(image())
    torch.manual_seed(2)
    assert torch.equal(again(image()), wanted)
    assert [ledger.plan for ledger in ledgers(again)] == [ledger.plan for ledger in ledgers(model)]


def test_what_was_taken_away_comes_back_after_loading(tmp_path: Path) -> None:
    """Modules that were replaced, dropped or given stride 1 keep their trained weights in the folder."""
    base = trained(timm.create_model("mobilenetv3_small_050", num_classes=5))
    edits = (
        {"op": "remove", "id": "nose", "at": {"class": "SqueezeExcite"}},
        {"op": "replace", "id": "silu", "at": {"class": "Hardswish"}, "block": {"type": "silu"}},
        {
            "op": "replace",
            "id": "down",
            "at": {"downsample": 4},
            "block": {"type": "tdb"},
            "keep": "blocks",
        },
    )
    model = hi.apply(base, recipe(*edits), SIZE)
    folder = hi.save(model, tmp_path / "out")
    assert (folder / "displaced.safetensors").is_file()
    again = hi.load(folder)
    assert torch.equal(run(again), run(model))
    assert same_state(hi.remove(again), base)
    assert torch.equal(run(hi.remove(again)), run(base))
    wanted = base.state_dict()
    assert hi.base_state_dict(again).keys() == wanted.keys()
    assert all(torch.equal(tensor, wanted[key]) for key, tensor in hi.base_state_dict(again).items())


def test_a_folder_without_what_was_taken_away_is_refused(tmp_path: Path) -> None:
    edit = {"op": "replace", "id": "down", "at": {"downsample": 2}, "block": {"type": "tdb"}, "keep": "none"}
    folder = hi.save(hi.apply(small(), recipe(edit), SIZE), tmp_path / "out")
    (folder / "displaced.safetensors").unlink()
    with pytest.raises(hi.WeightsError, match=r"displaced\.safetensors: there is no such file"):
        hi.load(folder)


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    model = trained(hi.apply(Tied(), recipe(insert({"stage": 2})), SIZE))
    folder = hi.save(model, tmp_path / "out")
    with safetensors.safe_open(folder / "model.safetensors", "pt") as file:
        assert ("project.weight" in file.keys()) != ("again.weight" in file.keys())  # noqa: SIM118
    again = hi.load(folder, base=Tied())
    assert again.again.weight is again.project.weight
    assert same_state(model, again)
    assert torch.equal(run(model), run(again))


def test_several_edits_one_after_another(tmp_path: Path) -> None:
    base = trained(small())
    once = hi.apply(base, recipe(insert({"stage": 2})), SIZE)
    swap = {"op": "replace", "id": "silu", "at": {"class": "ReLU"}, "block": {"type": "silu"}}
    twice = trained(hi.apply(once, recipe(insert({"stage": 2}, id="more"), swap), SIZE, seed=3))
    again = hi.load(hi.save(twice, tmp_path / "out"))
    assert [ledger.seed for ledger in ledgers(again)] == [0, 3]
    assert torch.equal(run(again), run(twice))
    assert same_state(hi.remove(again), hi.remove(twice))
    assert {path.name for path in (tmp_path / "out").glob("recipe*")} == {"recipe.yaml", "recipe-2.yaml"}
    saved_again = hi.load(hi.save(again, tmp_path / "copy"))
    assert torch.equal(run(saved_again), run(twice))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(tmp_path: Path, dtype: torch.dtype) -> None:
    edit = {"op": "replace", "id": "down", "at": {"downsample": 2}, "block": {"type": "tdb"}, "keep": "none"}
    base = trained(small().to(dtype))
    model = hi.apply(base, recipe(edit, insert({"stage": 3})), SIZE)
    again = hi.load(hi.save(model, tmp_path / "out"))
    assert same_state(model, again)
    assert same_state(hi.remove(again), base)
    assert torch.equal(run(model, dtype), run(again, dtype))


def test_channels_last_is_kept(tmp_path: Path) -> None:
    model = trained(hi.apply(small(), recipe(insert({"stage": 3})), SIZE)).to(
        memory_format=torch.channels_last
    )
    again = hi.load(hi.save(model, tmp_path / "out"))
    assert torch.equal(run(model), run(again))
    weight = again.layer1[0].conv2.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_kept(tmp_path: Path, training: bool) -> None:
    model = hi.apply(small(), recipe(insert({"stage": 3})), SIZE).train(training)
    again = hi.load(hi.save(model, tmp_path / "out"))
    assert all(module.training == training for module in again.modules())


def test_files_are_plain_data_that_others_can_read(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        edit = {"op": "remove", "id": "nobn", "at": {"module": "layer1.0.bn1"}}
        folder = hi.save(hi.apply(small(), recipe(edit), SIZE), tmp_path / "out")
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert {path.name for path in folder.iterdir()} == {
        *("recipe.yaml", "plan.json", "base.json", "README.md", "manifest.json"),
        *("model.safetensors", "displaced.safetensors"),
    }
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        with pytest.raises(ValueError, match=r"opcode|pickle|no newline|expected"):
            for _ in pickletools.genops(path.read_bytes()):
                pass


def test_a_folder_can_be_moved(tmp_path: Path) -> None:
    model = trained(hi.apply(small(), recipe(insert({"stage": 3})), SIZE))
    folder = hi.save(model, tmp_path / "out")
    moved = folder.rename(tmp_path / "elsewhere")
    assert torch.equal(run(hi.load(moved)), run(model))
    assert str(tmp_path) not in "".join(p.read_text() for p in moved.iterdir() if p.suffix != ".safetensors")


def test_its_readme_loads_it(tmp_path: Path) -> None:
    folder = hi.save(hi.apply(small(), recipe(insert({"stage": 3})), SIZE), tmp_path / "out")
    text = (folder / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0].replace("THIS_FOLDER", str(folder))
    names: dict[str, object] = {}
    exec(code, names)
    assert isinstance(names["model"], timm.models.ResNet)
    assert "Base network: `timm/test_resnet`" in text
    assert "| added | `layer3.0` | `layer3.0.added` |" in text
    folder = hi.save(hi.apply(Plain(), recipe(insert({"stage": 3})), SIZE), tmp_path / "own")
    assert 'hi.load("THIS_FOLDER", base=THE_BASE_NETWORK)' in (folder / "README.md").read_text()


def test_the_given_base_is_copied(tmp_path: Path) -> None:
    folder = hi.save(trained(hi.apply(Plain(), recipe(insert({"stage": 3})), SIZE)), tmp_path / "out")
    base = Plain()
    before = {key: tensor.clone() for key, tensor in base.state_dict().items()}
    again = hi.load(folder, base=base)
    assert all(torch.equal(tensor, before[key]) for key, tensor in base.state_dict().items())
    assert not any(module._forward_hooks for module in base.modules())
    with pytest.raises(hi.ArtifactError, match="this base network is edited"):
        hi.load(folder, base=again)
    with pytest.raises(hi.WeightsError, match="2 tensors do not fit"):
        hi.load(folder, base=Plain(classes=9))


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    class Noted(Plain):
        def get_extra_state(self) -> str:
            return "a note"

    edit = recipe(insert({"stage": 3}))
    with torch.device("meta"):
        hollow = Plain()
    for model, message in (
        (Plain(), "nothing was inserted into this model"),
        (hi.apply(hollow, edit, SIZE), "its weights are on the meta device"),
        (hi.apply(Noted(), edit, SIZE), "part of the model's state is not a tensor"),
        (
            torch.nn.DataParallel(hi.apply(Plain(), edit, SIZE)),
            "of a wrapped or compiled model, save the inner",
        ),
    ):
        with pytest.raises(hi.ModelError, match=message):
            hi.save(model, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_no_code_of_a_folder_is_run(tmp_path: Path) -> None:
    """A name that reached the code torch.fx generates would be run; it is refused before anything is built."""
    folder = hi.save(hi.apply(InForward(), recipe(insert({"stage": 1})), SIZE), tmp_path / "out")
    plan = json.loads((folder / "plan.json").read_text())
    (site,) = plan["plans"][0]["plan"]["sites"]
    assert site["action"] == "expression"
    flag = tmp_path / "run"
    site["key"] = f'a"), open("{flag}", "w"), ("'.replace(".", "_")
    (folder / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(hi.ArtifactError, match="is not a valid name for a new module"):
        hi.load(folder, base=InForward())
    assert not flag.exists()


def test_an_edit_taken_away_by_a_later_one(tmp_path: Path) -> None:
    base = trained(Plain())
    once = hi.apply(base, recipe(insert({"module": "stages.1.1.conv2"}, {"type": "irb"})), SIZE)
    swap = {"op": "replace", "id": "new", "at": {"module": "stages.1.1.conv2"}, "block": {"type": "irb"}}
    twice = trained(hi.apply(once, recipe(swap), SIZE))
    assert [key for key, _ in inserted_modules(twice)] == ["stages.1.1.conv2.new"]
    again = hi.load(hi.save(twice, tmp_path / "out"), base=Plain())
    assert torch.equal(run(again), run(twice))
    assert same_state(hi.remove(again), hi.remove(twice))


def test_a_block_that_a_hook_runs_is_not_taken_away_by_a_recipe() -> None:
    once = hi.apply(Plain(), recipe(insert({"stage": 2})), SIZE)
    drop = {"op": "remove", "id": "gone", "at": {"module": "**.added"}}
    with pytest.raises(hi.PlanError, match=r"'stages\.1\.1\.added' was put there by an earlier edit"):
        hi.apply(once, recipe(drop), SIZE)


def test_a_name_too_long_for_any_file_is_no_artifact() -> None:
    from hmhsa_insert.surgery.artifact.artifact import is_artifact

    assert not is_artifact("a" * 5000)


def test_an_artifact_is_not_a_base_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = hi.apply(Plain(), recipe(insert({"stage": 1, "block": "last"})), input_size=SIZE)
    hi.save(model, "edited")
    for spec in ("edited", "./edited"):
        with pytest.raises(
            hi.ModelError, match=r"this is an artifact: a base network with edits \(hi.load builds it"
        ):
            hi.load_model(spec)
