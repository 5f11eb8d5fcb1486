"""Small sets in formats other than COCO's, written as a test wants them: the same two pictures in each split."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

WIDTH, HEIGHT = 40, 20
SPLITS = ("train", "val")
Files = dict[str, str]


def lay_out(root: Path, files: Files, pictures: str) -> Path:
    """Write text files and two pictures for each split; `pictures` names their folder, ``{}`` the split."""
    for split in SPLITS:
        folder = root / pictures.format(split)
        folder.mkdir(parents=True, exist_ok=True)
        for name in (f"{split}-a.png", f"{split}-b.png"):
            Image.new("RGB", (WIDTH, HEIGHT), (90, 60, 30)).save(folder / name)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    return root


YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"
YOLO: Files = {
    "data.yaml": YAML,
    "labels/train/train-a.txt": "0 0.5 0.5 0.5 0.5\n1 0.25 0.5 0.5 1\n",
    "labels/train/train-b.txt": "",
    "labels/val/val-a.txt": "1 0.125 0.1 0.25 0.2\n",
    "labels/val/val-b.txt": "0 0.5 0.5 1 1\n",
}


def yolo(root: Path, **changes: str) -> Path:
    """Write a YOLO set; changes are by the names of files, `labels/train/train-a.txt` called ``rows``."""
    files = {**YOLO, "labels/train/train-a.txt": changes.pop("rows", YOLO["labels/train/train-a.txt"])}
    return lay_out(root, {**files, **changes}, "images/{}")


def voc_object(name: str, box: tuple[object, ...], more: str = "") -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    inside = "".join(f"<{tag}>{side}</{tag}>" for tag, side in sides)
    return f"<object>\n<name>{name}</name>{more}\n<bndbox>{inside}</bndbox>\n</object>\n"


def voc_file(*objects: str, size: str = f"<width>{WIDTH}</width><height>{HEIGHT}</height>") -> str:
    return f"<annotation>\n<size>{size}</size>\n{''.join(objects)}</annotation>\n"


CAT, DOG = voc_object("cat", (11, 6, 30, 15)), voc_object("dog", (1, 1, 20, 20))
VOC: Files = {
    "ImageSets/Main/train.txt": "train-a\ntrain-b\n",
    "ImageSets/Main/val.txt": "val-a\nval-b\n",
    "Annotations/train-a.xml": voc_file(CAT, DOG),
    "Annotations/train-b.xml": voc_file(),
    "Annotations/val-a.xml": voc_file(voc_object("dog", (1, 1, 10, 4))),
    "Annotations/val-b.xml": voc_file(voc_object("cat", (1, 1, 40, 20))),
}


def voc(root: Path, **changes: str) -> Path:
    """Write a VOC set; `Annotations/train-a.xml` is called ``xml``."""
    files = {**VOC, "Annotations/train-a.xml": changes.pop("xml", VOC["Annotations/train-a.xml"])}
    return lay_out(root, {**files, **changes}, "JPEGImages")


HEADER = "image,xmin,ymin,xmax,ymax,label\n"
CSV: Files = {
    "train.csv": f"{HEADER}train-a.png,10,5,30,15,cat\ntrain-a.png,0,0,20,20,dog\ntrain-b.png,,,,,\n",
    "val.csv": f"{HEADER}val-a.png,0,0,10,4,dog\nval-b.png,0,0,40,20,cat\n",
}


def csv(root: Path, **changes: str) -> Path:
    """Write a CSV set; `train.csv` is called ``rows``."""
    return lay_out(root, {**CSV, "train.csv": changes.pop("rows", CSV["train.csv"]), **changes}, "images")
