"""The Hub, with a server of the tests' own in its place: cards, files, the cache, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from endpoint import TOKEN, HubServer, serving
from huggingface_hub import ModelCard, constants
from PIL import Image
from safetensors import safe_open
from timm.models import save_for_hf
from torch import nn
from typer.testing import CliRunner

import hmhsa_insert as hi
from hmhsa_insert.commands import app

X = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
TIMM = "timm/test_resnet.r160_in1k"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """Serve a Hub, with a cache of its own and the token that may write."""
    with serving() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = f"{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        yield server


def edited(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = timm.create_model("test_resnet", num_classes=10)
    return hi.apply(model, "stage3.yaml", input_size=(3, 64, 64)).eval()


def card_of(hub: HubServer, name: str) -> ModelCard:
    return ModelCard(hub.repositories[name].files["README.md"].decode())


def test_a_pushed_model_is_loaded_bit_for_bit_and_offline_in_a_fresh_process(
    hub: HubServer, tmp_path: Path
) -> None:
    model = edited()
    address = hi.push(model, "user/net", private=True, message="mine")
    repository = hub.repositories["user/net"]
    assert address == f"{hub.address}/user/net"
    assert repository.private
    assert repository.messages[-1] == "mine"
    assert sorted(repository.files) == sorted(
        ["README.md", "base.json", "manifest.json", "model.safetensors", "plan.json", "recipe.yaml"]
    )
    with torch.no_grad():
        wanted = model(X)
        assert torch.equal(hi.load("hf-hub:user/net")(X), wanted)
    torch.save((X, wanted), tmp_path / "wanted.pt")
    code = (
        "import torch, hmhsa_insert as hi\n"
        f"x, wanted = torch.load({str(tmp_path / 'wanted.pt')!r})\n"
        "with torch.no_grad():\n    print(torch.equal(hi.load('hf-hub:user/net')(x), wanted))\n"
    )
    hub.asked.clear()
    env = os.environ | {"HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    assert hub.asked == []


def test_the_card_of_a_run_has_its_scores(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ["epochs=1", "input_size=16", "batch_size=256"]
    hi.train("test_resnet", "digits", recipe="stage3.yaml", overrides=settings, folder="run")
    # The artifact holds the best epoch's weights: the last epoch's scores are not theirs.
    result = json.loads(Path("run/result.json").read_text())
    result |= {
        "scores": {"top1": 12.5, "top5": 34.5, "loss": 2.0},
        "best": 56.25,
        "best_epoch": 3,
        "epochs": 7,
    }
    Path("run/result.json").write_text(json.dumps(result))
    found = CliRunner().invoke(app, ["push", "run", "user/digits"])
    assert found.exit_code == 0, found.output
    assert found.stdout.endswith(f"pushed to {hub.address}/user/digits\n")
    card = card_of(hub, "user/digits")
    card.validate()
    assert "POST /api/validate-yaml" in hub.asked
    data = card.data
    assert (data.library_name, data.pipeline_tag) == ("hmhsa-insert", "image-classification")
    assert (data.datasets, data.metrics, data.tags) == (
        ["digits"],
        ["accuracy"],
        ["hmhsa-insert", "hmhsa"],
    )
    assert data.base_model is None
    assert [(each.metric_name, each.metric_value, each.dataset_name) for each in data.eval_results] == [
        ("Top-1", 56.25, "digits")
    ]
    assert "12.5" not in card.text
    for text in (
        'hi.load("hf-hub:user/digits")',
        "test_resnet + stage3",
        "grids: auto",
        "epoch 3 of 7",
        "56.2",
        "| hmhsa |",
        torch.__version__,
    ):
        assert text in card.text


def test_a_folder_of_ones_own_is_not_named_in_the_card(hub: HubServer, tmp_path: Path) -> None:
    pictures = tmp_path / "of-the-clinic"
    for split in ("train", "val"):
        for name in ("a", "b"):
            (pictures / split / name).mkdir(parents=True)
            for number in range(4):
                shade = (40 * number + 9, 200 if name == "a" else 3, 100 if split == "val" else 7)
                Image.new("RGB", (32, 32), shade).save(pictures / split / name / f"{number}.png")
    settings = ["epochs=1", "input_size=32", "batch_size=4"]
    hi.train(
        "test_resnet",
        str(pictures),
        recipe="stage3.yaml",
        settings="digits",
        overrides=settings,
        folder=tmp_path / "run",
    )
    hi.push(tmp_path / "run", "user/mine")
    everything = b"".join(hub.repositories["user/mine"].files.values())
    assert str(pictures).encode() not in everything
    assert pictures.name.encode() not in everything
    assert card_of(hub, "user/mine").data.datasets is None


def test_detectors_are_pushed_and_loaded(hub: HubServer) -> None:
    torch.manual_seed(0)
    model = hi.detector("retinanet", timm.create_model("test_resnet"), num_classes=3).eval()
    hi.push(model, "user/detector")
    assert card_of(hub, "user/detector").data.pipeline_tag == "object-detection"
    loaded = hi.load("hf-hub:user/detector").eval()
    state = model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in loaded.state_dict().items())
    assert len(state) == len(loaded.state_dict())


def test_a_revision_is_an_older_commit(hub: HubServer) -> None:
    first, second = edited(1), edited(2)
    hi.push(first, "user/net")
    old = hub.repositories["user/net"].head
    with torch.no_grad():
        assert torch.equal(hi.load("hf-hub:user/net")(X), first(X))
    hi.push(second, "user/net")
    with torch.no_grad():
        assert torch.equal(hi.load(f"hf-hub:user/net@{old}")(X), first(X))
        assert torch.equal(hi.load("hf-hub:user/net")(X), second(X))


def test_pushed_weights_say_what_they_are_of(hub: HubServer, tmp_path: Path) -> None:
    hi.push(edited(), "user/net")
    files = hub.repositories["user/net"].files
    (tmp_path / "alone.safetensors").write_bytes(files["model.safetensors"])
    with safe_open(tmp_path / "alone.safetensors", "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["hmhsa_insert.base"])["source"] == "timm/test_resnet"
    assert metadata["hmhsa_insert.recipes"].encode() == files["recipe.yaml"]
    assert json.loads(metadata["hmhsa_insert.versions"])["timm"] == timm.__version__


def timm_repository(hub: HubServer, folder: Path, **changes: Any) -> nn.Module:
    """Add a model to the Hub as timm writes it, with changes to its configuration; return the model."""
    torch.manual_seed(3)
    model = timm.create_model("test_resnet", num_classes=7)
    save_for_hf(model, folder, safe_serialization=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    hub.add(TIMM, {path.name: path.read_bytes() for path in folder.iterdir()})
    return model.eval()


def test_timms_models_come_with_their_weights_and_name_themselves_as_the_base(
    hub: HubServer, tmp_path: Path
) -> None:
    there = timm_repository(hub, tmp_path / "timm")
    loaded = hi.load_model(f"hf-hub:{TIMM}")
    with torch.no_grad():
        assert torch.equal(loaded.model.eval()(X), there(X))
        made = hi.apply(loaded.model, "stage3.yaml", input_size=(3, 64, 64))
        hi.push(made, "user/grown")
        assert card_of(hub, "user/grown").data.base_model == TIMM
        again = hi.load("hf-hub:user/grown")
        assert torch.equal(again(X), made(X))
    # The base is recorded by its architecture: rebuilding asks no Hub for it.
    record = json.loads(hub.repositories["user/grown"].files["base.json"])
    assert (record["source"], record["kwargs"]["num_classes"], record["weights"]) == (
        "timm/test_resnet",
        7,
        TIMM,
    )
    hi.save(again, tmp_path / "again")
    assert json.loads((tmp_path / "again" / "base.json").read_text())["weights"] == TIMM


def test_commands_take_names_on_the_hub(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hi.push(edited(), "user/net")
    timm_repository(hub, tmp_path / "timm")
    runner = CliRunner()
    for arguments in (
        ["show", "hf-hub:user/net"],
        ["profile", "hf-hub:user/net", f"hf-hub:{TIMM}", "--input-size", "64"],
        ["evaluate", "hf-hub:user/net", "--data", "digits", "--set", "input_size=16"],
        ["train", "hf-hub:user/net", "--data", "digits", "--epochs", "1", "--set", "input_size=16"],
        ["export", "hf-hub:user/net", "--to", "torchscript", "--input-size", "64"],
        ["apply", f"hf-hub:{TIMM}", "--recipe", "stage3.yaml", "--input-size", "64", "-o", "edited"],
    ):
        found = runner.invoke(app, arguments)
        assert found.exit_code == 0, (arguments, found.output)
    assert (tmp_path / "edited" / "plan.json").is_file()


def test_the_commands_of_its_page_run(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hi.save(edited(), "out")
    page = (Path(__file__).parents[2] / "docs" / "howto" / "hub.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```sh hub\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    for line in block.splitlines():
        found = CliRunner().invoke(app, shlex.split(line, comments=True)[1:])
        assert found.exit_code == 0, (line, found.output)


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(hi.HmhsaInsertError) as error:
        call()
    (problem,) = error.value.problems
    return f"{problem.message} ({problem.tip})"


def test_what_the_hub_refuses_is_one_line(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hi.push(edited(), "user/net", private=True)
    model, empty = edited(), tmp_path / "empty"
    empty.mkdir()
    damaged = hi.save(model, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"12345678{")
    hub.add("user/other", {"weights.bin": b"x"})
    cases = [
        (
            lambda: hi.load("hf-hub:user/net@v9"),
            "it has no such revision (leave @REVISION out for the newest)",
        ),
        (
            lambda: hi.load("hf-hub:user/nothing"),
            "there is no such repository, or it is private (for private ones: `hf auth login`)",
        ),
        (
            lambda: hi.load("hf-hub:user/a b"),
            "this does not name a repository (write USER/NAME; of letters, digits, '-', '_' and '.')",
        ),
        (
            lambda: hi.load_model("hf-hub:user/other"),
            "this repository has no config.json (it must hold a model of timm, or what `hmhsa-insert push` wrote)",
        ),
        (
            lambda: hi.load_model("hf-hub:user/net"),
            "this is an artifact: a base network with edits (hi.load builds it; commands take it as MODEL)",
        ),
        (
            lambda: hi.push(model, "other/net"),
            "your token may not write there (`hf auth login` with a token that can write)",
        ),
        (lambda: hi.push(model, "net"), "this names no user or organization (write USER/net)"),
        (
            lambda: hi.push(empty, "user/empty"),
            "this is not an artifact: it has no plan.json (`hmhsa-insert apply MODEL --recipe R -o DIR` writes one)",
        ),
        (
            lambda: hi.push(damaged, "user/damaged"),
            "is damaged, or is not a safetensors file: Error while deserializing header: header too large ()",
        ),
        (
            lambda: hi.push(timm.create_model("test_resnet"), "user/plain"),
            "nothing was inserted into this model (hi.apply makes one; of a wrapped or compiled model, save the "
            "inner one)",
        ),
    ]
    for call, line in cases:
        assert refused(call) == line
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr(huggingface_hub.utils._headers, "get_token", lambda: None)
    assert refused(lambda: hi.push(model, "user/net2")) == (
        "the Hub does not know who asks (log in with `hf auth login`, or set HF_TOKEN)"
    )
    assert sorted(hub.repositories) == ["user/net", "user/other"]


def test_a_public_repository_is_not_taken_for_a_private_one(hub: HubServer) -> None:
    hi.push(edited(), "user/net")
    commits = len(hub.repositories["user/net"].commits)
    assert refused(lambda: hi.push(edited(1), "user/net", private=True)) == (
        "it exists and is public: nothing was uploaded (make it private on the Hub first, or choose another name)"
    )
    assert len(hub.repositories["user/net"].commits) == commits


def test_a_hub_that_does_not_answer_is_one_line(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "the Hub cannot be reached: " in refused(lambda: hi.push(edited(), "user/net"))


def test_without_a_connection_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert refused(lambda: hi.load("hf-hub:user/offline")) == (
        "it is not in the cache, and the Hub cannot be reached "
        "(unset HF_HUB_OFFLINE if it is set, and try again with a connection)"
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"architecture": "evil_net"},
            "config.json asks for 'evil_net', and timm has no network of this name",
        ),
        ({"model_args": {"act_layer": {"a": 1}}}, "'model_args.act_layer"),
        (
            {"model_args": {"num_classes": 10**6}},
            "config.json asks for a network of 97.375 M numbers, and model.safetensors is smaller",
        ),
    ],
)
def test_a_strangers_configuration_is_bounded(
    hub: HubServer, tmp_path: Path, changes: dict[str, Any], line: str
) -> None:
    timm_repository(hub, tmp_path / "timm", **changes)
    assert line in refused(lambda: hi.load_model(f"hf-hub:{TIMM}"))


def test_no_file_may_name_a_repository(hub: HubServer, tmp_path: Path) -> None:
    folder = hi.save(edited(), tmp_path / "edited")
    record = json.loads((folder / "base.json").read_text())
    (folder / "base.json").write_text(json.dumps(record | {"source": "hf-hub:user/net"}))
    assert "which the installed release does not have" in refused(lambda: hi.load(folder))
    assert hub.asked == []
