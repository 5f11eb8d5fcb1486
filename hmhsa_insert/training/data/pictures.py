"""Pictures as they look: which files are some, and their pixels upright with gray levels from 0 to 255."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

# Formats whose endings Pillow knows and whose pixels it cannot make by itself: containers, films, programs.
_NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
_SIXTEEN_BITS = {"I;16", "I;16B", "I;16L", "I;16N"}
# Formats that Pillow reads as 32-bit integers though what they hold is 16-bit.
_SIXTEEN_IN_32 = {"JPEG2000", "PNG", "PPM"}
_SIXTEEN = 65535.0
_GRAY_MODES = {"1", "L", "LA", "La", "I", "F"} | _SIXTEEN_BITS
# Tags of TIFF, and two values of the last one.
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_SAMPLE_FORMAT = 258, 262, 339
_TIFF_UNSIGNED, _TIFF_SIGNED = 1, 2
_TIFF_SAMPLES = 277
_ORIENTATION, _ON_ITS_SIDE = 274, {5, 6, 7, 8}

# Endings of pictures that another package reads, and the package.
PLUGINS: Mapping[str, str] = {
    ".avif": "pillow-avif-plugin",
    ".heic": "pillow-heif",
    ".heics": "pillow-heif",
    ".heif": "pillow-heif",
    ".hif": "pillow-heif",
    ".jxl": "pillow-jxl-plugin",
}


@cache
def picture_endings() -> frozenset[str]:
    """Return the endings of the files that are read, in lower case; those of installed plugins among them."""
    for register in (_register_heif, _register_avif, _register_jxl):
        try:
            register()
        except ImportError:
            continue
    Image.init()
    endings = Image.registered_extensions().items()
    read = {ending for ending, name in endings if name in Image.OPEN and name not in _NO_PICTURES}
    return frozenset(read | {".mpo"})  # what JPEG's reader opens too


def ending(path: str) -> str:
    """Return the ending of a file's name in lower case, its dot included; empty if it has none."""
    name = path[path.rfind("/") + 1 :]
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def read_picture(file: IO[bytes]) -> Image.Image:
    """Return the picture in an open file, as it looks; raises whatever its format does for a damaged one."""
    picture_endings()
    image = Image.open(file)
    image.load()
    return as_it_looks(image)


class ManyChannels(ValueError):
    """A picture has more channels than are read of it: Pillow drops those beyond color without a word."""


def read_gray(file: IO[bytes]) -> bool:
    """Return True if the picture in an open file has no color; most are not decoded for that.

    Raises:
        ManyChannels: some of its channels would be dropped.
    """
    picture_endings()
    image = Image.open(file)
    channels, read = _tag(image, _TIFF_SAMPLES, 1), len(image.getbands())
    if channels > read:
        raise ManyChannels(f"has {channels} channels, of which {read} are read")
    return is_gray(image)


def is_deep(file: IO[bytes]) -> bool:
    """Return True if the picture in an open file has gray levels of more than the 8 bits that it is read with."""
    picture_endings()
    return Image.open(file).mode in {"I", "F"} | _SIXTEEN_BITS


def read_size(file: IO[bytes]) -> tuple[int, int]:
    """Return width and height of the picture in an open file, upright; its pixels are not decoded."""
    picture_endings()
    image = Image.open(file)
    # A PNG's own getexif decodes its pixels to look behind them.
    turned = Image.Image.getexif(image).get(_ORIENTATION) in _ON_ITS_SIDE
    return (image.height, image.width) if turned else image.size


def as_it_looks(image: Image.Image) -> Image.Image:
    """Return a picture upright, as its camera said, and with gray levels of 8 bits."""
    upright = _upright(image)
    # What the file says of its numbers is only in the image that was read, not in one that was turned.
    if image.mode in _SIXTEEN_BITS:
        levels = np.minimum(np.asarray(upright) >> (_bits(image) - 8), 255).astype(np.uint8)
    elif image.mode in ("I", "F"):
        levels = _eight_bits(_numbers(upright, image), image)
    else:
        return upright
    # Pillow turns levels of which zero is white for 8 bits alone.
    return Image.fromarray(255 - levels if _tag(image, _TIFF_PHOTOMETRIC, 1) == 0 else levels)


def is_gray(image: Image.Image) -> bool:
    """Return True if a picture has no color by its mode, or all colors of its palette are gray."""
    if image.mode != "P":
        return image.mode in _GRAY_MODES
    colors = np.asarray(image.convert("RGB"))
    return bool((colors == colors[..., :1]).all())


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a damaged EXIF block turns nothing, and its pixels are as good as without it
        return image


def _numbers(upright: Image.Image, read: Image.Image) -> npt.NDArray[np.float64]:
    values = np.asarray(upright)
    if _is_unsigned(read):
        values = values.view(np.uint32)  # Pillow has no unsigned mode
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _eight_bits(values: npt.NDArray[np.float64], read: Image.Image) -> npt.NDArray[np.uint8]:
    """Return 32-bit gray levels by their range; Pillow's own conversion makes all above 255 white."""
    if read.mode == "I" and _tag(read, _TIFF_SAMPLE_FORMAT, 1) == _TIFF_SIGNED and _bits(read) == 16:
        darkest = -32768 if values.min(initial=0.0) < 0 else 0
        return ((values - darkest) // ((32768 - darkest) // 256)).astype(np.uint8)
    largest = float(values.max(initial=0.0))
    if read.mode == "I" and read.format in _SIXTEEN_IN_32:
        largest = _SIXTEEN
    # A file does not say which level is white: the end of the smallest usual range that fits.
    most = 2.0 ** (32 if _is_unsigned(read) else 31) - 1
    whites = (1.0, 255.0, _SIXTEEN) if read.mode == "F" else (255.0, _SIXTEEN, most)
    white = next((each for each in whites if largest <= each), largest)
    scaled = values // 256 if white == _SIXTEEN else np.rint(values * (255 / white))
    return np.clip(scaled, 0, 255).astype(np.uint8)


def _is_unsigned(read: Image.Image) -> bool:
    return (
        read.mode == "I" and hasattr(read, "tag_v2") and _tag(read, _TIFF_SAMPLE_FORMAT, 1) == _TIFF_UNSIGNED
    )


def _bits(read: Image.Image) -> int:
    """Return the bits of a gray level as the file has them."""
    return int(_tag(read, _TIFF_BITS, 16))


def _tag(read: Image.Image, number: int, default: int) -> int:
    """Return the first value of a TIFF's tag; the default for pictures that are no TIFF, or do not have it."""
    value = getattr(read, "tag_v2", {}).get(number, default)
    return int(value[0] if isinstance(value, tuple) else value)


def _register_heif() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()


def _register_avif() -> None:
    if ".avif" not in Image.registered_extensions():
        import pillow_avif  # noqa: F401


def _register_jxl() -> None:
    import pillow_jxl  # noqa: F401
