"""Pascal VOC XML: a file for each picture, an element for each object.

A box of VOC names its first and its last pixel, counted from 1. Where any box of a set begins at 0, the set counts
from 0 and names edges, as newer tools write them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from xml.sax.saxutils import escape

from hmhsa_insert.detection.formats.format import (
    Faults,
    Format,
    Part,
    Parts,
    Step,
    copied,
    listed,
    number_of,
    refuse_shared_stems,
    size_of,
    written,
)
from hmhsa_insert.detection.formats.voc_files import Place, find_places
from hmhsa_insert.errors import near
from hmhsa_insert.files.xml_text import Element, read_xml
from hmhsa_insert.training.data.digests import Watch
from hmhsa_insert.training.problems import DataError

_SIDES = ("xmin", "ymin", "xmax", "ymax")
FLAGS = ("difficult", "truncated", "occluded")  # of an object, 0 or 1
_NO_ROTATED = "the detectors here learn upright boxes: export the set with upright boxes"
_DIGITS = 6  # of a pixel that are kept


class Voc(Format):
    """Boxes in XML files."""

    name = "voc"
    title = "Pascal VOC XML"
    labels = "list of pictures or folder of XML files"
    writes = True
    layout = "Annotations/, JPEGImages/ and ImageSets/Main/train.txt and val.txt, or train/ and val/ with XML files"

    def find(self, root: Path) -> Mapping[str, Place]:
        """Return where the splits lie."""
        return find_places(root)

    def read(self, places: Mapping[str, Place], masks: bool, watch: Watch | None = None) -> dict[str, Part]:
        """Return what is in the splits."""
        faults = Faults()
        read = {split: _read(place, faults, watch) for split, place in places.items()}
        faults.report()
        objects = [each for split in read.values() for each in split.objects]
        names = next(iter(places.values())).classes or sorted({each.name for each in objects})
        numbers = {name: number for number, name in enumerate(names, 1)}
        from_zero = any(side < 1 for each in objects for side in each.sides[:2])
        counting = "edges in pixels from 0" if from_zero else "first and last pixel, counted from 1"
        return {split: each.part(places[split], numbers, from_zero, counting) for split, each in read.items()}

    def write(self, parts: Parts, folder: Path, step: Step) -> None:
        """Write Annotations, JPEGImages, ImageSets/Main and classes.txt; splits that share names have folders."""
        refuse_shared_stems(parts)
        stems = {
            split: [_stem(each["file_name"]) for each in part.whole["images"]]
            for split, part in parts.items()
        }
        counts = Counter(stem for names in stems.values() for stem in names)
        parted = len(counts) < counts.total()
        for split, part in parts.items():
            start = f"{split}/" if parted else ""
            names = {each["id"]: each["name"] for each in part.whole["categories"]}
            for image, theirs in part.by_picture():
                copied(part, image, folder / "JPEGImages" / start)
                path = folder / "Annotations" / f"{start}{_stem(image['file_name'])}.xml"
                written(path, file_text(image, [(names[each["category_id"]], each) for each in theirs]))
                step()
            lines = "".join(f"{start}{stem}\n" for stem in stems[split])
            written(folder / "ImageSets" / "Main" / f"{split}.txt", lines)
        listed_names = (each["name"] for each in next(iter(parts.values())).whole["categories"])
        written(folder / "classes.txt", "".join(f"{name}\n" for name in listed_names))


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def file_text(image: Mapping[str, Any], objects: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """Return the XML of a picture and its named objects, in COCO's form."""
    lines = ["<annotation>", f"  <filename>{escape(PurePosixPath(image['file_name']).name)}</filename>"]
    lines += [
        f"  <size><width>{image['width']}</width><height>{image['height']}</height><depth>3</depth></size>"
    ]
    for name, each in objects:
        left, top, across, down = each["bbox"]
        sides = (left + 1, top + 1, left + across, top + down)
        more = "".join(f"<{tag}>{escape(str(each[tag]))}</{tag}>" for tag in ("pose", *FLAGS) if tag in each)
        box = "".join(f"<{tag}>{side:.10g}</{tag}>" for tag, side in zip(_SIDES, sides, strict=True))
        lines += [
            "  <object>",
            f"    <name>{escape(name)}</name>{more}",
            f"    <bndbox>{box}</bndbox>",
            "  </object>",
        ]
    return "".join(f"{line}\n" for line in [*lines, "</annotation>"])


@dataclass(frozen=True)
class _Object:
    image: int
    name: str
    sides: list[float]  # as they are written
    more: dict[str, Any]


@dataclass
class _Split:
    images: list[dict[str, Any]] = field(default_factory=list)
    objects: list[_Object] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def part(self, place: Place, numbers: Mapping[str, int], from_zero: bool, counting: str) -> Part:
        annotations = []
        for number, each in enumerate(self.objects, 1):
            left, top, right, bottom = each.sides
            if not from_zero:
                left, top = left - 1, top - 1
            box = [round(side, _DIGITS) for side in (left, top, right - left, bottom - top)]
            own = {"id": number, "image_id": each.image, "category_id": numbers[each.name]}
            annotations.append({**own, "bbox": box, "iscrowd": 0, **each.more})
        categories = [{"id": key, "name": title} for title, key in numbers.items()]
        notes: tuple[str, ...] = place.notes
        if self.objects:
            notes += (f"boxes are read as {counting}",)
        if difficult := sum(each.more.get("difficult", 0) for each in self.objects):
            notes += (f"{difficult:,} objects are marked difficult, and count as the others",)
        whole = {"images": self.images, "annotations": annotations, "categories": categories}
        return Part(place.where, place.images, whole, tuple(self.unreadable), notes)


def _read(place: Place, faults: Faults, watch: Watch | None) -> _Split:
    found, pictures = _Split(), place.pictures()
    if not place.stems:
        faults.add(place.where, "it lists no pictures")
    for number, stem in enumerate(place.stems, 1):
        listed(watch, number, len(place.stems))
        try:
            root = read_xml(place.xml / f"{stem}.xml", DataError)
        except DataError as error:
            faults.extend(error)
            continue
        name = _picture(root, stem, pictures)
        size = _size(root, faults) or size_of(place.images / name)
        if size is None:
            found.unreadable.append(name)
            continue
        image = len(found.images) + 1
        found.images.append({"id": image, "file_name": name, "width": size[0], "height": size[1]})
        found.objects += _objects(root, image, place.classes, faults)
    return found


def _picture(root: Element, stem: str, pictures: Mapping[str, list[str]]) -> str:
    """Return the picture of an XML file: the one of its stem; that it names counts where there are several, or none."""
    element = root.find("filename")
    said = PurePosixPath(element.text.replace("\\", "/")).name if element is not None else ""
    beside = (PurePosixPath(stem).parent / said).as_posix() if said else f"{stem}.jpg"
    choices = pictures.get(stem, [])
    return choices[0] if choices and beside not in choices else beside


def _size(root: Element, faults: Faults) -> tuple[int, int] | None:
    """Return width and height; None where the file does not say them, or says 0 as some tools do."""
    element = root.find("size")
    if element is None:
        return None
    sides = []
    for tag in ("width", "height"):
        side = element.find(tag)
        value = number_of(side.text) if side is not None else 0.0
        if value is None or value < 0 or value % 1:
            assert side is not None
            faults.add(side.where, f"<{tag}> is {side.text[:40]!r}, not a number of pixels")
            return None
        sides.append(int(value))
    return (sides[0], sides[1]) if all(sides) else None


def _objects(root: Element, image: int, classes: Iterable[str], faults: Faults) -> list[_Object]:
    found = []
    if root.tag != "annotation":
        faults.add(
            root.where, f"the root is <{root.tag[:40]}>, not <annotation>", near("annotation", [root.tag])
        )
        return []
    for element in root.all("object"):
        name, sides = _name(element, classes, faults), _box(element, faults)
        more: dict[str, Any] = {
            tag: flag for tag in FLAGS if (flag := _flag(element, tag, faults)) is not None
        }
        pose = element.find("pose")
        if pose is not None and pose.text:
            more["pose"] = pose.text
        if name is not None and sides is not None:
            found.append(_Object(image, name, sides, more))
    return found


def _child(element: Element, tag: str, faults: Faults) -> Element | None:
    found = element.find(tag)
    if found is None or (not found.text and not found.children):
        message = f"<{element.tag}> has no <{tag}>" if found is None else f"<{tag}> is empty"
        tip = near(tag, {child.tag for child in element.children} - {*_SIDES}) if found is None else ""
        faults.add(element.where if found is None else found.where, message, tip)
        return None
    return found


def _name(element: Element, classes: Iterable[str], faults: Faults) -> str | None:
    found = _child(element, "name", faults)
    if found is None:
        return None
    if classes and found.text not in classes:
        tip = near(found.text, classes) or "classes.txt names them all"
        faults.add(found.where, f"there is no class '{found.text}'", tip)
        return None
    return found.text


def _box(element: Element, faults: Faults) -> list[float] | None:
    if (rotated := element.find("robndbox")) is not None:
        faults.add(rotated.where, "a rotated box", _NO_ROTATED)
        return None
    box = _child(element, "bndbox", faults)
    if box is None:
        return None
    sides = []
    for tag in _SIDES:
        side = _child(box, tag, faults)
        value = number_of(side.text) if side is not None else None
        if side is not None and value is None:
            faults.add(side.where, f"<{tag}> is {side.text[:40]!r}, not a number of pixels")
        if value is not None:
            sides.append(value)
    if len(sides) < len(_SIDES):
        return None
    for first, last in ((0, 2), (1, 3)):
        if sides[last] < sides[first]:
            message = f"<{_SIDES[last]}> {sides[last]:g} is less than <{_SIDES[first]}> {sides[first]:g}"
            faults.add(box.where, message)
            return None
    return sides


def _flag(element: Element, tag: str, faults: Faults) -> int | None:
    found = element.find(tag)
    if found is None or found.text in ("", "Unspecified"):
        return None
    if found.text not in ("0", "1"):
        faults.add(found.where, f"<{tag}> is {found.text[:40]!r}, neither 0 nor 1")
        return None
    return int(found.text)
