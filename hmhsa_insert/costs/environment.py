"""Where figures were measured: a latency means nothing without it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from hmhsa_insert.costs.steps import Setting
from hmhsa_insert.files.machine import cores

_PACKAGES = ("hmhsa-insert", "torch", "torchvision", "timm", "fvcore", "numpy")


@dataclass(frozen=True)
class Environment:
    """The machine, the software and the setting behind a record.

    Attributes:
        system: operating system and architecture.
        cpu: the processor's name as the system gives it.
        cores: logical processors this process may use.
        threads: threads torch computes with.
        device: what the models ran on; the accelerator's name where it is one.
        dtype: the floating dtype, or ``"model's own"``.
        channels_last: whether images and weights were channels-last.
        compiled: whether models ran through `torch.compile`.
        versions: of Python and the packages that matter.
    """

    system: str
    cpu: str
    cores: int
    threads: int
    device: str
    dtype: str
    channels_last: bool
    compiled: bool
    versions: dict[str, str]

    def software(self, *names: str) -> str:
        """Return the versions in words: of `names`, or of all."""
        return ", ".join(f"{name} {self.versions[name]}" for name in names or self.versions)


def environment(setting: Setting | None = None) -> Environment:
    """Return the environment of this process, with `setting` as what models are run under."""
    setting = setting or Setting()
    return Environment(
        system=f"{platform.system()} {platform.machine()}",
        cpu=_cpu(),
        cores=cores(),
        threads=torch.get_num_threads(),
        device=_device(setting.device),
        dtype=str(setting.dtype).removeprefix("torch.") if setting.dtype else "model's own",
        channels_last=setting.channels_last,
        compiled=setting.compiled,
        versions={"python": platform.python_version(), **_versions()},
    )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _device(device: str) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
