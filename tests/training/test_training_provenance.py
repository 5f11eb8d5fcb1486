"""The digest of weights covers what was learned before; the nearest shipped settings are those that differ least."""

import timm
import torch

from hmhsa_insert.training.network import TrainableModel
from hmhsa_insert.training.provenance import digest, nearest, provenance
from hmhsa_insert.training.settings import load_settings


def built(seed: int, has_weights: bool = True) -> TrainableModel:
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=3)
    torch.manual_seed(seed)
    torch.nn.init.normal_(model.fc.weight)
    return TrainableModel(model, model, 3, frozenset({"fc.weight"}), has_weights, ())


def test_a_new_head_is_not_part_of_the_weights():
    settings = load_settings("digits")
    one, two = (provenance(settings, built(seed))["weights"] for seed in (1, 2))
    assert one == two
    assert len(one) == 16
    assert digest(built(1).model) != digest(built(2).model)
    assert provenance(settings, built(1, has_weights=False))["weights"] is None


def test_one_changed_value_is_another_digest():
    network = built(1)
    before = digest(network.model)
    with torch.no_grad():
        network.model.conv1[0].weight[0, 0, 0, 0] += 1e-3
    assert digest(network.model) != before


def test_the_shipped_settings_are_nearest_to_themselves():
    for name in ("digits", "finetune", "imagenet_300e"):
        assert nearest(load_settings(name)) == {"shipped": name, "differ": {}}
    changed = load_settings("finetune", ["epochs=7", "optimizer.lr=0.5"])
    assert nearest(changed) == {"shipped": "finetune", "differ": {"epochs": 7, "optimizer": {"lr": 0.5}}}
