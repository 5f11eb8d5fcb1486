"""Registers the networks with timm, so that ``timm.create_model("hat_net_small")`` builds them.

This happens on ``import hmhsa_insert.models``, as in other packages that extend timm; repeating it changes
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import (
    build_model_with_cfg,
    generate_default_cfgs,
    is_model,
    model_entrypoint,
    register_model,
)

from hmhsa_insert.models.configs import CONFIGS, NetworkConfig
from hmhsa_insert.models.network import Network

# timm's register_model appends the names that it registers.
__all__: list[str] = []


def _pretrained_cfg(name: str) -> dict[str, Any]:
    cfg: dict[str, Any] = {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "patch_embed.0",
        "classifier": "classifier.1",
    }
    # The authors tested TransCNN at 256, where its grid of 8 divides the maps of all stages.
    return cfg | {"test_input_size": (3, 256, 256)} if name.startswith("transcnn") else cfg


# timm looks this name up in the module of a model's function.
default_cfgs = generate_default_cfgs({name: _pretrained_cfg(name) for name in CONFIGS})


def _entrypoint(name: str, cfg: NetworkConfig) -> Callable[..., Network]:
    """Return the function that timm calls to build the model `name`."""

    def create(pretrained: bool = False, **kwargs: Any) -> Network:
        features = {"out_indices": (0, 1, 2, 3), "feature_cls": "hook"}
        model = build_model_with_cfg(Network, name, pretrained, model_cfg=cfg, feature_cfg=features, **kwargs)
        return cast(Network, model)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"Build {name}; takes timm's arguments, and those of Network."
    return create


def register() -> None:
    """Register the models with timm, unless they are registered."""
    for name, cfg in CONFIGS.items():
        if not (is_model(name) and model_entrypoint(name).__module__ == __name__):
            register_model(_entrypoint(name, cfg))
