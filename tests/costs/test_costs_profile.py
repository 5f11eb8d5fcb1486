"""The record of a profile."""

from __future__ import annotations

import json
import time

import pytest
import timm
import torch
from torch import nn

import hmhsa_insert as hi
from hmhsa_insert.costs.count import count
from hmhsa_insert.costs.crosscheck import fvcore_macs
from hmhsa_insert.costs.latency import Timing
from hmhsa_insert.costs.memory import largest_batch, training_memory
from hmhsa_insert.costs.profile import profile, profile_all
from hmhsa_insert.costs.steps import Setting


def test_a_profile_holds_the_counts():
    model = timm.create_model("resnet10t")
    record, counts = profile(model, (3, 64, 96)), count(model, (3, 64, 96))
    for field in ("num_params", "num_trainable", "macs", "flops", "macs_modules_only", "activations"):
        assert getattr(record, field) == getattr(counts, field) > 0
    assert record.by_module == counts.by_module
    assert (record.name, record.input_size, record.unknown_ops) == ("ResNet", (3, 64, 96), ())
    assert record.crosscheck.difference == 0.0
    assert record.memory is record.inference is record.training is None


def test_several_models_side_by_side():
    models = {"base": nn.Conv2d(3, 4, 3), "other": nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))}
    done = []
    records = profile_all(
        models,
        (3, 16, 16),
        batch=3,
        memory=True,
        timing=Timing(modes=("training", "inference"), rounds=2, warmup=1, shortest_ms=0),
        setting=Setting(dtype=torch.float64),
        progress=lambda at, of: done.append((at, of)),
    )
    assert [(record.name, record.group) for record in records] == [("base", "base"), ("other", "base")]
    assert [record.training.mode for record in records] == ["training"] * 2
    assert [record.inference.mode for record in records] == ["inference"] * 2
    assert [record.memory.batch for record in records] == [3, 3]
    full = training_memory(models["other"], (3, 16, 16), batch=3)
    assert records[1].memory.param_bytes == 2 * full.param_bytes
    assert done == [(n, 8) for n in range(1, 9)]


def test_a_profile_is_json():
    record = profile(timm.create_model("resnet10t"), (3, 64, 64), name="small", memory=True)
    data = json.loads(json.dumps(record.as_dict(), allow_nan=False))
    assert (data["kind"], data["version"], data["name"]) == ("profile", 1, "small")
    assert data["input_size"] == [3, 64, 64]
    assert sum(row["macs"] for row in data["by_module"]) == data["macs"]
    assert sum(data["memory"]["by_module"].values()) == data["memory"]["saved_bytes"]
    assert data["memory"]["saved_bytes_per_image"] == record.memory.saved_bytes / 2
    assert data["inference"] is None
    assert data["environment"]["versions"]["timm"]


def test_a_compiled_model_is_counted_as_it_was():
    model = timm.create_model("resnet10t")
    compiled = torch.compile(model, backend="eager")
    assert profile(compiled, (3, 64, 64)).macs == count(model, (3, 64, 64)).macs


def test_one_image_is_too_few_to_train_batch_norm():
    record = profile(timm.create_model("resnet10t"), (3, 32, 32), batch=1, memory=True)
    assert record.memory.batch == 2


def test_the_largest_batch_is_for_the_memory_asked_about():
    record = hi.profile(timm.create_model("resnet10t"), (3, 64, 64), memory=True, device_gib=2.0)
    data = record.as_dict()
    assert data["device_gib"] == 2.0
    assert data["memory"]["largest_batch"] == largest_batch(record.memory, 2.0) > 0


@pytest.mark.long
def test_a_profile_takes_no_longer_than_twice_fvcores_count():
    """CPU time of the process, the best of three in turns, after imports and first uses."""
    model = timm.create_model("resnet50")
    tasks = {"profile": lambda: profile(model), "fvcore": lambda: fvcore_macs(model, (3, 224, 224))}
    times = {name: [] for name in tasks}
    for _ in range(4):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            times[name].append(time.process_time() - start)
    best = {name: min(values[1:]) for name, values in times.items()}
    assert best["profile"] <= 2 * best["fvcore"]
