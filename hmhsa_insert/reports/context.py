"""What made a figure, so that a report can stand alone: network, weights, data, settings, recipe, software, commands.

Everything is a :class:`Listing`, most of it YAML, which every format shows in its way. It is made from what a run's
``config.yaml`` and ``environment.json`` hold, read as data; what older files do not say is left out.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hmhsa_insert.recipe.canonical import dump_plain
from hmhsa_insert.reports.listing import Listing

Plain = Mapping[str, Any]
_MACHINE = ("device", "processes", "cpu", "cores", "threads", "system", "dtype", "channels_last", "compiled")


def run_context(config: Plain, here: Plain) -> list[Listing]:
    """Return everything about one training run.

    Args:
        config: what ``config.yaml`` holds.
        here: what ``environment.json`` holds; empty where there is none.
    """
    recipe = config.get("recipe")
    return [
        network_and_data(config, here),
        *settings_listings(config, here),
        *([listing(f"recipe {recipe['name']}", recipe)] if recipe else []),
        machine_listing([here]),
        commands_listing(train_commands(config)),
    ]


def listing(title: str, values: Plain) -> Listing:
    """Return plain data as YAML, without what is None."""
    return Listing(title, dump_plain({name: value for name, value in values.items() if value is not None}))


def network_and_data(config: Plain, here: Plain, title: str = "network, weights and data") -> Listing:
    """Return what was trained, from which weights, on what."""
    data = config.get("data") or {}
    known = {
        "task": config.get("task"),
        "network": config.get("model"),
        "detector": config.get("detector"),
        "decoder": config.get("decoder"),
        "weights": _weights(config, here),
        "recipe": (config.get("recipe") or {}).get("name"),
        "data": data.get("source"),
        "data digest": data.get("fingerprint"),
        "training images": data.get("train"),
        "validation images": data.get("val"),
        "classes": data.get("classes"),
        "channels": data.get("channels"),
        "seed": config.get("seed"),
    }
    return listing(title, known)


def _weights(config: Plain, here: Plain) -> str:
    """Return what the base network began with; a file is recorded as its name and the start of its SHA-256."""
    digest = f", sha256 {here['weights']} of its tensors" if here.get("weights") else ""
    if config.get("init_from"):
        return f"{config['init_from']}{digest}"
    return f"the library's pretrained ones{digest}" if config.get("pretrained") else "random, by the seed"


def settings_listings(config: Plain, here: Plain, what: str = "settings") -> list[Listing]:
    """Return what differs from the nearest shipped settings, where that is recorded, and the settings in full."""
    found = [listing(f"{what} in full", config["settings"])] if config.get("settings") else []
    nearest = here.get("settings")
    if isinstance(nearest, Mapping) and isinstance(nearest.get("differ"), Mapping):
        title = f"{what} that differ from the shipped '{nearest.get('shipped')}'"
        values = nearest["differ"]
        found.insert(0, listing(title, values) if values else Listing(title, "none"))
    return found


def machine_listing(heres: Iterable[Plain]) -> Listing:
    """Return where the runs were made, and with which versions, each kind of machine once.

    This alone of a context differs where the same results are computed again elsewhere.
    """
    kinds: dict[str, None] = {}
    for here in heres:
        known = {name: here[name] for name in _MACHINE if here.get(name) is not None}
        if here.get("versions"):
            known["versions"] = here["versions"]
        if known:
            kinds.setdefault(dump_plain(known))
    return Listing("software and machine", "---\n".join(kinds) if kinds else "not recorded")


def commands_listing(commands: Sequence[str]) -> Listing:
    """Return what to run to get the same again."""
    return Listing("commands to do it again", "\n".join(commands))


def train_commands(config: Plain) -> list[str]:
    """Return the command of a run, and as comments what the files are that it takes."""
    model, data = str(config.get("model")), config.get("data") or {}
    saved = ["settings.yaml: the settings in full"]
    words = ["hmhsa-insert", "train", model]
    if " " in model:  # a class and a digest: it was a Python object
        words[-1] = "MODEL"
        saved.append(f"MODEL: a network that was made in Python, {model}")
    if config.get("task"):
        words += ["--task", config["task"]]
    for option in ("detector", "decoder"):
        if config.get(option):
            words += [f"--{option}", config[option]]
    if config.get("recipe"):
        words += ["--recipe", "recipe.yaml"]
        saved.append("recipe.yaml: the recipe")
    words += [
        "--data",
        str(data.get("source")),
        "--config",
        "settings.yaml",
        "--seed",
        str(config.get("seed")),
    ]
    if config.get("init_from"):
        words += ["--weights", str(config["init_from"]).rpartition(" ")[0]]
    words += ["--pretrained"] if config.get("pretrained") else []
    return [*(f"# {each}" for each in saved), shlex.join(words)]
