"""Whole runs: the folder, going on, stopping, and everything that can go wrong on the way."""

import dataclasses
import json
import random
import threading
from importlib.metadata import version as metadata_version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from training_nets import QUICK, RECIPE, SETTINGS, Told, few_digits, plain, train_plain

import hmhsa_insert as hi
from hmhsa_insert.surgery.artifact.artifact import load
from hmhsa_insert.training import read_predictions, read_result, score
from hmhsa_insert.training.loop.seeding import seed_cpu
from hmhsa_insert.training.loop.updates import Loop
from hmhsa_insert.training.problems import DataError, RunError
from hmhsa_insert.training.run import train


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with everything on."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(
        "training_nets:irb_nano",
        few_digits(),
        recipe=RECIPE,
        settings=SETTINGS | {"batch_size": 40},
        folder=folder,
    )
    return folder


def test_a_run_folder_holds_what_it_says(done: Path) -> None:
    names = {path.name for path in done.iterdir() if not path.name.startswith(".")}
    assert names == {
        "config.yaml", "environment.json", "metrics.csv", "metrics.jsonl", "timing.csv", "checkpoints",
        "best.safetensors", "last.safetensors", "ema.safetensors", "predictions.csv", "curves.png", "artifact",
        "result.json",
    }  # fmt: skip
    metrics = pd.read_csv(done / "metrics.csv", float_precision="round_trip")
    timing = pd.read_csv(done / "timing.csv")
    assert metrics.epoch.tolist() == timing.epoch.tolist() == [1, 2, 3]
    lines = [json.loads(line) for line in (done / "metrics.jsonl").read_text().splitlines()]
    assert pd.DataFrame(lines).equals(metrics)
    assert len(list((done / "checkpoints").iterdir())) == 2
    assert (done / "curves.png").read_bytes()[:4] == b"\x89PNG"
    here = json.loads((done / "environment.json").read_text())
    assert here["versions"]["torch"] == metadata_version("torch")
    assert here["weights"] is None
    assert here["settings"]["differ"]["epochs"] == 3


def test_the_result_is_the_last_evaluation_of_the_averaged_weights(done: Path) -> None:
    result, metrics = read_result(done), pd.read_csv(done / "metrics.csv")
    assert result is not None
    assert (result.weights, result.epochs, result.updates, result.images) == ("ema", 3, 12, 480)
    assert result.top1 == metrics.ema_top1.iloc[-1]
    assert result.loss == metrics.ema_val_loss.iloc[-1]
    assert result.best_top1 == max(metrics.top1.max(), metrics.ema_top1.max())
    predictions = read_predictions(done)
    assert 100 * predictions.correct.mean() == pytest.approx(result.top1)
    assert predictions.loss.mean() == pytest.approx(result.loss)
    assert predictions.image.tolist() == [few_digits().val.name(i) for i in range(60)]


def test_the_artifact_has_the_best_weights(done: Path) -> None:
    best = load_file(done / "best.safetensors")
    written = load_file(done / "artifact" / "model.safetensors")
    assert best.keys() == written.keys()
    assert all(torch.equal(best[key], written[key]) for key in best)
    with pytest.raises(hi.ArtifactError, match="base"):
        load(done / "artifact")  # its base is the test's own network, which a folder may not name
    found = score.evaluate(done, few_digits(), allow_code=True)
    result = read_result(done)
    assert result is not None
    assert found.top1 == pytest.approx(result.best_top1)


def test_evaluation_of_a_run_gives_the_runs_numbers(done: Path) -> None:
    found, result = score.evaluate(done, few_digits(), checkpoint="ema", allow_code=True), read_result(done)
    assert result is not None
    assert found.loss == pytest.approx(result.loss, abs=1e-6)
    assert found.confusion.sum() == 60
    counts = np.bincount(found.targets, minlength=10)
    assert np.nansum(found.per_class / 100 * counts) == pytest.approx(np.trace(found.confusion))
    with pytest.raises(DataError, match=r"its classes are not those .* 'x' it does not know"):
        score.evaluate(done, dataclasses.replace(few_digits(), classes=tuple("012345678x")), allow_code=True)


def test_a_finished_run_is_not_run_again(done: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*.*") if path.is_file()}
    told = Told()
    settings = SETTINGS | {"batch_size": 40}
    again = train(
        "training_nets:irb_nano", few_digits(), recipe=RECIPE, settings=settings, folder=done, reporter=told
    )
    assert again == read_result(done)
    assert told.notes == [f"finished before: {done}"]
    changed = [
        p for p, when in before.items() if p.stat().st_mtime_ns != when and p.name not in (".owner", ".lock")
    ]
    assert changed == []


def test_a_run_of_another_recipe_is_refused_with_the_difference(done: Path) -> None:
    other = json.loads(json.dumps(RECIPE))
    other["edits"][0]["block"]["head_dim"] = 2
    settings = SETTINGS | {"batch_size": 40, "optimizer": {"lr": 6e-3, "clip_norm": 5.0}}
    with pytest.raises(RunError) as caught:
        train("training_nets:irb_nano", few_digits(), recipe=other, settings=settings, folder=done, seed=1)
    messages = [problem.message for problem in caught.value.problems]
    assert messages == [
        "recipe.edits[0].block.head_dim is 4 in this run, and 2 was asked for",
        "seed is 0 in this run, and 1 was asked for",
        "settings.optimizer.lr is 0.005 in this run, and 0.006 was asked for",
    ]


def test_base_and_edited_network_are_evaluated_before_the_first_update(tmp_path: Path) -> None:
    first = train_plain(tmp_path / "base", settings=QUICK | {"epochs": 1})
    edit = {"op": "insert", "id": "new", "at": {"module": "3"}, "block": {"type": "hmhsa", "head_dim": 4}}
    told = Told()
    train_plain(
        tmp_path / "tuned",
        settings=QUICK | {"epochs": 1},
        recipe={"version": 1, "name": "one", "edits": [edit]},
        weights=tmp_path / "base" / "last.safetensors",
        reporter=told,
    )
    start = json.loads((tmp_path / "tuned" / "epoch0.json").read_text())
    assert start["base"] == start["edited"]
    assert start["base"]["loss"] == first.loss
    assert [note.split(":")[0] for note in told.notes if "epoch 0" in note] == [
        "epoch 0, base",
        "epoch 0, edited",
    ]


def test_runs_of_one_seed_are_the_same_and_variants_see_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[torch.Tensor]] = {}
    original = Loop._on_device

    def watched(self: Loop, batch: Any) -> Any:
        seen.setdefault(self.checkpoints.parent.name, []).append(batch.images)
        return original(self, batch)

    monkeypatch.setattr(Loop, "_on_device", watched)
    edit = {
        "op": "insert",
        "id": "new",
        "at": {"module": "3"},
        "block": {"type": "transformer", "head_dim": 4},
    }
    recipe = {"version": 1, "name": "one", "edits": [edit]}
    settings = QUICK | {"epochs": 1, "augment": {"scale": [0.5, 1.0], "erasing": 0.5}}
    a = train_plain(tmp_path / "a", settings=settings)
    b = train_plain(tmp_path / "b", settings=settings)
    train_plain(tmp_path / "c", settings=settings, recipe=recipe)
    train_plain(tmp_path / "d", settings=settings, seed=1)
    assert (a.loss, a.run_id) == (b.loss, b.run_id)
    assert (tmp_path / "a" / "last.safetensors").read_bytes() == (
        tmp_path / "b" / "last.safetensors"
    ).read_bytes()
    assert all(map(torch.equal, seen["a"], seen["c"]))
    assert not torch.equal(seen["a"][0], seen["d"][0])


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    whole = train_plain(tmp_path / "whole")
    parts = train_plain(tmp_path / "parts", settings=QUICK | {"accumulate": 4})
    assert parts.loss == pytest.approx(whole.loss, abs=1e-5)
    a, b = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "parts"))
    assert max(float((a[key] - b[key]).abs().max()) for key in a) < 1e-5
    rows = [pd.read_csv(tmp_path / name / "metrics.csv") for name in ("whole", "parts")]
    assert (rows[0].train_loss - rows[1].train_loss).abs().max() < 1e-5


def test_an_update_has_the_gradients_of_its_own_images_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[Any] = []
    apart: list[float] = []
    on_device, prepare_gradients = Loop._on_device, Loop._prepare_gradients

    def moved(self: Loop, batch: Any) -> Any:
        batches.append(on_device(self, batch))
        return batches[-1]

    def watched(self: Loop) -> None:
        parameters = list(self.bare.parameters())
        own = torch.autograd.grad(self.objective.forward(self.bare, batches[-1]).loss, parameters)
        found = [p.grad if p.grad is not None else torch.tensor(torch.inf) for p in parameters]
        apart.append(max(float((a - b).abs().max()) for a, b in zip(own, found, strict=True)))
        prepare_gradients(self)

    monkeypatch.setattr(Loop, "_on_device", moved)
    monkeypatch.setattr(Loop, "_prepare_gradients", watched)
    train_plain(tmp_path / "run")
    assert len(apart) == 8
    assert max(apart) < 1e-6


def test_the_average_begins_with_the_first_update(tmp_path: Path) -> None:
    once = {"epochs": 1, "batch_size": 160, "schedule": {"warmup_epochs": 0}, "ema": {"decay": 0.5}}
    train_plain(tmp_path / "run", settings=QUICK | once)
    trained, average = (load_file(tmp_path / "run" / f"{name}.safetensors") for name in ("last", "ema"))
    # What the network was before it is in neither: half of it would be, were the first not the beginning.
    assert all(torch.equal(average[key], tensor) for key, tensor in trained.items())


def test_a_run_goes_on_from_a_thread_and_with_other_workers(tmp_path: Path) -> None:
    results: list[Any] = []
    worker = threading.Thread(target=lambda: results.append(train_plain(tmp_path / "run")))
    worker.start()
    worker.join()
    settings = QUICK | {"checkpoint_steps": 3, "loader": {"workers": 1}}
    assert train_plain(tmp_path / "run", settings=settings) == results[0]


def test_training_and_evaluation_leave_the_generators_as_they_were(tmp_path: Path) -> None:
    def draws() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]

    seed_cpu(1)
    wanted = draws()
    seed_cpu(1)
    train_plain(tmp_path / "run")
    assert draws() == wanted
    seed_cpu(1)
    score.evaluate(tmp_path / "run", few_digits(), allow_code=True)
    assert draws() == wanted


def test_a_network_in_memory(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = plain()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    train(model, few_digits(), settings=QUICK, folder=tmp_path / "run")
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    with pytest.raises(RunError, match=r"its network \(Sequential \w+\) was given in memory"):
        score.evaluate(tmp_path / "run", few_digits())
    with torch.no_grad():
        model[0].weight.add_(1)
    with pytest.raises(RunError, match="model is Sequential"):
        train(model, few_digits(), settings=QUICK, folder=tmp_path / "run")


def test_steps_are_told(tmp_path: Path) -> None:
    told = Told()
    train_plain(tmp_path / "run", reporter=told)
    assert [(step.epoch, step.update, step.updates, step.epochs) for step in told.steps] == [
        (epoch, update, 4, 2) for epoch in (1, 2) for update in (1, 2, 3, 4)
    ]
    assert all(step.loss > 0 and step.images_per_s > 0 for step in told.steps)


def test_trackers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train_plain(tmp_path / "run", settings=QUICK | {"trackers": ["tensorboard"]})
    assert list((tmp_path / "run").rglob("events.out.tfevents*"))
    with pytest.raises(hi.HmhsaInsertError, match="tracker 'tensorbord' is unknown"):
        train_plain(tmp_path / "other", settings=QUICK | {"trackers": ["tensorbord"]})
