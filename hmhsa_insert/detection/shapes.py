"""Scenes of drawn shapes over photographs: each with the exact mask of what is seen of every shape.

Shapes are painted one after the other, so that later ones cover earlier ones. A pixel belongs to a shape if its centre
lies inside; a mask is the pixels of which the shape is the topmost. A scene is a function of its generator and the
photographs alone.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]

_MOST_SHAPES = 5
_EMPTY_SHARE = 0.05  # scenes without a shape: detectors must learn to say nothing
_SEEN_SHARE = 0.5  # of every shape's own area, at least: less is not recognisable
_TRIES = 20
_RADII = (0.08, 0.24)  # of the scene's shorter side
_MIN_RADIUS = 4.0  # pixels: less has no shape


@dataclass(frozen=True)
class Drawn:
    """One shape of a scene.

    Attributes:
        name: of its class.
        mask: H×W, true where it is seen.
    """

    name: str
    mask: Mask


@dataclass(frozen=True)
class Scene:
    """A photograph with shapes.

    Attributes:
        pixels: H×W×3.
        shapes: from the bottom to the top.
    """

    pixels: Pixels
    shapes: tuple[Drawn, ...]


def draw_scene(rng: np.random.Generator, photographs: Sequence[Pixels], height: int, width: int) -> Scene:
    """Draw one scene.

    Args:
        rng: makes every choice.
        photographs: H×W×3 each, to crop backgrounds from.
        height: of the scene, in pixels.
        width: of the scene, in pixels.
    """
    pixels = _background(rng, photographs, height, width)
    owner = np.full((height, width), -1)
    areas: list[int] = []
    names: list[str] = []
    wanted = 0 if rng.random() < _EMPTY_SHARE else int(rng.integers(1, _MOST_SHAPES + 1))
    for _ in range(_TRIES * wanted):
        if len(names) == wanted:
            break
        name = str(rng.choice(list(SHAPES)))
        inside = _placed(rng, SHAPES[name], height, width)
        after = np.where(inside, len(names), owner)
        if not inside.any() or not _all_seen(after, [*areas, int(inside.sum())]):
            continue
        owner = after
        areas.append(int(inside.sum()))
        names.append(name)
        pixels[inside] = _painted(rng, pixels[inside])
    return Scene(pixels, tuple(Drawn(name, owner == number) for number, name in enumerate(names)))


def _background(rng: np.random.Generator, photographs: Sequence[Pixels], height: int, width: int) -> Pixels:
    """Return a random crop of a random photograph, mirrored or not."""
    photograph = photographs[int(rng.integers(len(photographs)))]
    # At sizes beyond the photograph's the crop is tiled by reflection.
    padding = [(0, max(height - photograph.shape[0], 0)), (0, max(width - photograph.shape[1], 0)), (0, 0)]
    whole = np.pad(photograph, padding, mode="symmetric")
    top = int(rng.integers(whole.shape[0] - height + 1))
    left = int(rng.integers(whole.shape[1] - width + 1))
    crop = whole[top : top + height, left : left + width]
    return np.array(crop[:, ::-1] if rng.random() < 0.5 else crop)


def _placed(
    rng: np.random.Generator, inside: Callable[[Points, Points], Mask], height: int, width: int
) -> Mask:
    """Return the pixels of a shape of random size, place and rotation, wholly within the scene."""
    side = min(height, width)
    radius = max(float(rng.uniform(*_RADII)) * side, _MIN_RADIUS)
    radius = min(radius, side / 2)
    x, y = (float(rng.uniform(radius, length - radius)) for length in (width, height))
    angle = float(rng.uniform(0, 2 * np.pi))
    columns, rows = np.meshgrid(np.arange(width) + 0.5 - x, np.arange(height) + 0.5 - y)
    turned = columns * np.cos(angle) + rows * np.sin(angle), rows * np.cos(angle) - columns * np.sin(angle)
    return inside(turned[0] / radius, turned[1] / radius)


def _all_seen(owner: npt.NDArray[np.int64], areas: Sequence[int]) -> bool:
    seen = np.bincount(owner[owner >= 0], minlength=len(areas))
    return bool((seen >= _SEEN_SHARE * np.array(areas)).all())


def _painted(rng: np.random.Generator, below: Pixels) -> Pixels:
    """Return a random strong color over the pixels below, a little of which shines through."""
    color = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.5, 1.0), rng.uniform(0.5, 1.0))
    opacity = rng.uniform(0.75, 1.0)
    mixed = 255 * np.array(color) * opacity + below * (1 - opacity)
    noisy: Pixels = np.clip(mixed + rng.normal(0, 6, below.shape), 0, 255).round().astype(np.uint8)
    return noisy


def _circle(x: Points, y: Points) -> Mask:
    return np.less_equal(x**2 + y**2, 1)


def _ring(x: Points, y: Points) -> Mask:
    distance = x**2 + y**2
    return np.logical_and(distance <= 1, distance >= 0.55**2)


def _polygon(radii: Sequence[float]) -> Callable[[Points, Points], Mask]:
    """Return the test of a polygon whose corners lie at these distances and equal angles around the centre."""
    angles = 2 * np.pi * np.arange(len(radii)) / len(radii)
    corners = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array(radii)[:, None]

    def inside(x: Points, y: Points) -> Mask:
        crossings = np.zeros(x.shape, dtype=bool)
        for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            # A ray to the right crosses an edge that begins on one side of it and ends on the other.
            straddles = (y1 > y) != (y2 > y)
            if y1 != y2:
                crossings ^= straddles & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
        return crossings

    return inside


# Class name -> whether a point is inside, the shape's circumcircle being the unit circle. In the order of their ids.
SHAPES: dict[str, Callable[[Points, Points], Mask]] = {
    "circle": _circle,
    "ring": _ring,
    "square": _polygon([1.0] * 4),
    "triangle": _polygon([1.0] * 3),
    "star": _polygon([1.0, 0.42] * 5),
}
