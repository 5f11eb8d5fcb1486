"""Leaves a mark when it is imported and when its factory is called; files that name it lie beside it."""

import pathlib

pathlib.Path("IMPORTED").touch()


def factory(**kwargs):
    pathlib.Path("CALLED").touch()
    import timm

    return timm.create_model(
        "test_resnet", num_classes=kwargs.get("num_classes", 10), in_chans=kwargs.get("in_chans", 1)
    )
