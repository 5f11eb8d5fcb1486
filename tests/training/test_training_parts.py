"""Optimizer groups, freezing, schedules, losses: what is trained how fast."""

from typing import Any

import pytest
import torch
from torch import nn
from training_nets import RECIPE, few_digits

from hmhsa_insert.surgery.edit.undo import base_state_dict
from hmhsa_insert.training.loop.fitted import fitted
from hmhsa_insert.training.loop.freeze import Freezer
from hmhsa_insert.training.loop.optimizer import (
    make_loss,
    make_mixup,
    make_optimizer,
    make_schedule,
    parameter_groups,
)
from hmhsa_insert.training.network import TrainableModel, build_network
from hmhsa_insert.training.problems import SettingsError
from hmhsa_insert.training.run import train
from hmhsa_insert.training.schema import ClassifySettings
from hmhsa_insert.training.settings import load_settings


def _settings(**sections: Any) -> ClassifySettings:
    return load_settings({"epochs": 2, "batch_size": 40, "input_size": 32, **sections})


def _network(**sections: Any) -> TrainableModel:
    return build_network("training_nets:irb_nano", few_digits(), _settings(**sections), recipe=RECIPE)


def _scales(network: TrainableModel, settings: ClassifySettings) -> dict[str, tuple[float, float]]:
    names = {id(parameter): name for name, parameter in network.model.named_parameters()}
    groups = parameter_groups(network.model, settings, network.fresh)
    return {
        names[id(p)]: (group.get("lr_scale", 1.0), group["weight_decay"])
        for group in groups
        for p in group["params"]
    }


def test_every_parameter_is_in_one_group_and_only_kernels_decay() -> None:
    network = _network()
    found = _scales(network, _settings(optimizer={"weight_decay": 0.3}))
    assert found.keys() == dict(network.model.named_parameters()).keys()
    for name, parameter in network.model.named_parameters():
        assert found[name] == (1.0, 0.3 if parameter.ndim > 1 else 0.0), name


def test_new_parameters_learn_faster_and_early_layers_slower() -> None:
    network = _network()
    tuned = {"new_lr_scale": 10.0, "layer_decay": 0.5}
    found = _scales(network, _settings(finetune=tuned, optimizer={"weight_decay": 0.3}))
    assert found.keys() == dict(network.model.named_parameters()).keys()
    assert {found[name][0] for name in network.fresh} == {10.0}
    decays = {name: found[name][1] for name in network.fresh}
    # Of the new ones too only kernels decay.
    assert decays == {
        n: 0.3 if p.ndim > 1 else 0.0 for n, p in network.model.named_parameters() if n in decays
    }
    assert set(decays.values()) == {0.3, 0.0}
    layers = ("patch_embed.0.", "blocks.0.0.", "blocks.3.0.", "classifier.1.")
    stem, early, late, head = (
        next(scale for name, (scale, _) in found.items() if name.startswith(layer)) for layer in layers
    )
    assert stem < early < late < head == 1.0


def test_what_a_network_gives_no_ground_for_is_left_out_and_said() -> None:
    asked = _settings(finetune={"layer_decay": 0.5, "freeze_base_epochs": 1})
    found, notes = fitted(asked, nn.Linear(2, 2), ())
    assert (found.finetune.layer_decay, found.finetune.freeze_base_epochs) == (None, 0)
    assert notes == (
        "Linear does not say its layers (timm's networks do): all learn at one rate, without finetune.layer_decay",
        "no parameter is new: all train from the start, without finetune.freeze_base_epochs",
    )
    network = _network()
    assert fitted(asked, network.model, network.fresh) == (asked, ())


@pytest.mark.parametrize(
    ("batch", "given_for", "notes"),
    [
        (64, None, []),
        (64, 64, []),
        (16, 64, ["learning rate 0.0005: optimizer.lr is 0.002 for batches of 64, and batch_size is 16"]),
        (
            4,
            64,
            [
                "learning rate 0.000125: optimizer.lr is 0.002 for batches of 64, and batch_size is 4",
                "warning: that is less than a tenth of optimizer.lr (0.062 of it), and may learn next to nothing; "
                "with optimizer.lr_batch_size=null it is not scaled",
            ],
        ),
    ],
)
def test_the_scaling_of_the_rate_is_said(batch: int, given_for: int | None, notes: list[str]) -> None:
    settings = _settings(batch_size=batch, optimizer={"lr": 2e-3, "lr_batch_size": given_for})
    assert fitted(settings, nn.Linear(2, 2), ())[1] == tuple(notes)


def test_the_schedule_warms_up_scales_groups_and_ends_low() -> None:
    settings = _settings(
        epochs=10,
        optimizer={"lr": 1.0, "name": "sgd"},
        schedule={"warmup_epochs": 2, "warmup_lr": 0.1, "min_lr": 0.01},
        finetune={"new_lr_scale": 10.0},
    )
    network = _network()
    optimizer = make_optimizer(network.model, settings, network.fresh)
    schedule = make_schedule(optimizer, settings, updates=5)
    rates = [optimizer.param_groups[0]["lr"]]
    for update in range(1, 51):
        schedule.step_update(num_updates=update)
        new = [group["lr"] for group in optimizer.param_groups if group.get("lr_scale") == 10.0]
        assert new == pytest.approx([10 * optimizer.param_groups[0]["lr"]] * len(new))
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] == 0.1
    assert rates[10] == pytest.approx(max(rates), rel=0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.01)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lamb", "lion"])
def test_optimizers_by_timms_names(name: str) -> None:
    given = {"name": name, "lr": 0.125, "momentum": 0.75, "betas": (0.6, 0.8)}
    made = make_optimizer(nn.Linear(2, 2), _settings(optimizer=given), ())
    assert type(made).__name__.lower() == name
    group = made.param_groups[0]
    assert group["lr"] == 0.125
    assert (group["momentum"] == 0.75) if name == "sgd" else (tuple(group["betas"]) == (0.6, 0.8))
    with pytest.raises(SettingsError, match="timm has no optimizer 'adamwww'"):
        make_optimizer(nn.Linear(2, 2), _settings(optimizer={"name": "adamwww"}), ())


def test_losses_agree_with_their_definitions() -> None:
    scores, targets = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    plain = nn.functional.cross_entropy(scores, targets)
    torch.testing.assert_close(make_loss(_settings())(scores, targets), plain)
    smooth = nn.functional.cross_entropy(scores, targets, label_smoothing=0.1)
    torch.testing.assert_close(make_loss(_settings(loss={"label_smoothing": 0.1}))(scores, targets), smooth)
    mixed = make_loss(_settings(augment={"mixup": 0.8}))
    torch.testing.assert_close(mixed(scores, nn.functional.one_hot(targets, 4).float()), plain)
    binary = make_loss(_settings(loss={"name": "bce"}))
    wanted = nn.functional.binary_cross_entropy_with_logits(scores, nn.functional.one_hot(targets, 4).float())
    torch.testing.assert_close(binary(scores, targets), wanted)


def test_mixing_pairs_images() -> None:
    settings = _settings(augment={"mixup": 0.8, "cutmix": 0.3}, loss={"label_smoothing": 0.1})
    mixup = make_mixup(settings, 10, 4)
    assert mixup is not None
    _, targets = mixup(torch.randn(4, 1, 8, 8), torch.tensor([1, 2, 3, 4]))
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    assert (mixup.mixup_alpha, mixup.cutmix_alpha) == (0.8, 0.3)
    # A class that neither image has gets a tenth of the smoothing.
    torch.testing.assert_close(targets.amin(1), torch.full((4,), 0.01))
    assert make_mixup(_settings(), 10, 3) is None
    with pytest.raises(SettingsError, match="mixup and cutmix pair images, and 5 in one forward is odd"):
        make_mixup(settings, 10, 5)


def _trained(
    tmp_path: Any, epochs: int, **finetune: Any
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the base network's state and that of what was trained from it."""
    settings = {
        "epochs": epochs,
        "batch_size": 40,
        "input_size": 32,
        "optimizer": {"lr": 1e-2},
        "compute": {"device": "cpu"},
        "finetune": finetune,
        "regularize": {"dropout": 0.0},
    }
    network = build_network(
        "training_nets:irb_nano", few_digits(), load_settings(settings), recipe=RECIPE, seed=2
    )
    train("training_nets:irb_nano", few_digits(), recipe=RECIPE, settings=settings, seed=2, folder=tmp_path)
    from safetensors.torch import load_model

    base = {key: tensor.clone() for key, tensor in base_state_dict(network.model).items()}
    load_model(network.model, tmp_path / "last.safetensors")
    return base, network.model.state_dict()


@pytest.mark.parametrize("finetune", [{"freeze_base_epochs": 1}, {"only_new_blocks": True}])
def test_a_frozen_base_stays_byte_for_byte_running_statistics_too(
    tmp_path: Any, finetune: dict[str, Any]
) -> None:
    base, after = _trained(tmp_path, 1, **finetune)
    assert [key for key, tensor in base.items() if not torch.equal(after[key], tensor)] == []
    gamma = [tensor for key, tensor in after.items() if key.endswith("gamma")]
    assert gamma
    assert all(tensor.abs().max() > 0 for tensor in gamma)


def test_a_base_that_thaws_moves(tmp_path: Any) -> None:
    base, after = _trained(tmp_path, 2, freeze_base_epochs=1)
    stands = [key for key, tensor in base.items() if torch.equal(after[key], tensor)]
    assert stands == []


def test_freezing_needs_something_new() -> None:
    network = build_network("training_nets:irb_nano", few_digits(), _settings())
    with pytest.raises(SettingsError, match="there are no new parameters: the recipe inserts nothing"):
        Freezer(network.model, _settings(finetune={"only_new_blocks": True}), network.fresh)
