"""Draw small pictures of solar cells, whole ones and cracked ones: ``python draw_cells.py FOLDER --images 400``.

They stand in for electroluminescence photographs: current makes the silicon glow, and what is cut off stays dark. Each
picture depends on the seed and its number alone. Bright grains, dark grains and busbars are in both classes; a defect
is a crack, or an area that a crack has cut off.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 64
CLASSES = ("good", "defect")


def draw(rng: np.random.Generator, defect: bool, busbars: int) -> Image.Image:
    """Return one cell, gray, 64×64."""
    coarse = rng.normal(165, 22, (8, 8)).clip(0, 255).astype(np.uint8)
    cell = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(cell)
    for _ in range(rng.integers(2, 6)):  # dark grains, which are no defect
        x, y, radius = [*rng.uniform(4, SIDE - 4, 2).tolist(), rng.uniform(1.5, 4)]
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=int(rng.integers(85, 130)))
    if defect:
        draw_crack(pen, rng)
    for bar in range(busbars):
        x = round((bar + 0.5) * SIDE / busbars)
        pen.line((x, 0, x, SIDE), fill=60, width=1)
    cell = cell.filter(ImageFilter.GaussianBlur(0.6))
    noisy = np.asarray(cell, dtype=np.float32) + rng.normal(0, 4, (SIDE, SIDE))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def draw_crack(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """Draw a crack across a part of the cell; every third one cuts an area off, which is dark."""
    steps = rng.integers(4, 8)
    heading, place = rng.uniform(0, 2 * np.pi), rng.uniform(16, SIDE - 16, 2)
    points = [tuple(place)]
    for _ in range(steps):
        heading += rng.normal(0, 0.5)
        place = place + rng.uniform(4, 8) * np.array([np.cos(heading), np.sin(heading)])
        points.append(tuple(place))
    if rng.random() < 1 / 3:
        pen.polygon(points, fill=int(rng.integers(90, 125)))
    pen.line(points, fill=int(rng.integers(60, 100)), width=1)


def main() -> None:
    """Write FOLDER/train and FOLDER/val, with a folder for each class."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=400, help="in all; a quarter of them to validate on")
    parser.add_argument("--busbars", type=int, default=5, help="bright-to-dark lines down the cell")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for number in range(asked.images):
        rng = np.random.default_rng((asked.seed, number))
        split, name = ("val" if number % 4 == 3 else "train"), CLASSES[number // 4 % 2]
        path = asked.folder / split / name / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(rng, name == "defect", asked.busbars).save(path)
    print(f"wrote {asked.images} pictures of {SIDE}×{SIDE} pixels to {asked.folder}")


if __name__ == "__main__":
    main()
