"""segmentation_models_pytorch: any of its decoders around any of its encoders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

import timm
from torch import nn

from hmhsa_insert.errors import ModelError, Problem, near
from hmhsa_insert.surgery.base.sources.library import Library, Named

_OPTIONS = ("classes", "in_channels", "encoder_depth")


class Smp(Library):
    """``smp/Unet:resnet34``: a decoder and an encoder."""

    prefix = extra = "smp"
    package = "segmentation_models_pytorch"
    form = "smp/Unet:resnet34"

    @cache  # noqa: B019  (the table holds the only instance)
    def names(self) -> frozenset[str]:
        """Return every pair of a decoder and an encoder."""
        decoders, encoders = _parts()
        return frozenset(f"{decoder}:{encoder}" for decoder in decoders for encoder in encoders)

    def has(self, name: str) -> bool:
        """Return True for one of these pairs; an encoder may be ``tu-`` and any network of timm."""
        decoder, _, encoder = name.partition(":")
        return decoder in _parts()[0] and _is_encoder(encoder)

    def resolved(self, name: str, kwargs: Mapping[str, Any]) -> Named:
        """Return the pair; a decoder's name may be written in any case."""
        spec = f"{self.prefix}/{name}"
        self.require(spec)
        decoders, encoders = _parts()
        decoder, colon, encoder = name.partition(":")
        decoder = {each.lower(): each for each in decoders}.get(decoder.lower(), decoder)
        problems = []
        if decoder not in decoders:
            tip = near(decoder, decoders) or f"there are {', '.join(decoders)}"
            problems.append(Problem(spec, f"smp has no decoder '{decoder}'", tip))
        if colon and not _is_encoder(encoder):
            tip = near(encoder, encoders) or "smp.encoders.get_encoder_names() lists them"
            problems.append(Problem(spec, f"smp has no encoder '{encoder}'", tip))
        if not colon:
            problems.append(
                Problem(
                    spec,
                    "it names no encoder",
                    f"write smp/{decoder if decoder in decoders else 'Unet'}:resnet34",
                )
            )
        if problems:
            raise ModelError(problems)
        return Named(f"{decoder}:{encoder}", kwargs)

    def builder(self, name: str, pretrained: bool, kwargs: Mapping[str, Any]) -> Callable[[], Any]:
        """Return smp's own factory; `pretrained` is of the encoder."""
        import segmentation_models_pytorch as smp

        decoder, _, encoder = name.partition(":")
        weights = "imagenet" if pretrained else None
        return partial(getattr(smp, decoder), encoder, encoder_weights=weights, **kwargs)

    def candidates(self, model: nn.Module) -> Iterator[Named]:
        """Yield the arguments that the model's class was called with."""
        config = getattr(model, "config", None)
        if type(model).__module__.startswith("segmentation_models_pytorch.") and isinstance(config, dict):
            kwargs = {key: config[key] for key in _OPTIONS if key in config}
            yield Named(f"{type(model).__name__}:{config.get('encoder_name')}", kwargs)


def _parts() -> tuple[list[str], list[str]]:
    """Return the names of all decoders and of all encoders."""
    import segmentation_models_pytorch as smp

    decoders = [each.__name__ for each in smp.MODEL_ARCHITECTURES_MAPPING.values()]
    return decoders, smp.encoders.get_encoder_names()


def _is_encoder(name: str) -> bool:
    return name in _parts()[1] or (name.startswith("tu-") and name.removeprefix("tu-") in timm.list_models())
