"""torchvision's resize of a detector's images, which fails for a picture that would become thinner than a pixel."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.models.detection.transform import GeneralizedRCNNTransform

Target = dict[str, Tensor]


class DetectorTransform(GeneralizedRCNNTransform):  # type: ignore[misc]
    """torchvision's normalization, resize and batching, for pictures of any shape.

    A picture is as wide as it is long times `max_size`, and thinner than a pixel then: it is stretched first, so that
    one pixel is left of its shorter side. All others are treated as torchvision treats them.
    """

    def resize(self, image: Tensor, target: Target | None = None) -> tuple[Tensor, Target | None]:
        """Return image and target at the size that the network sees."""
        height, width = image.shape[-2:]
        least = max(height, width) // self.max_size + 1
        if min(height, width) * self.max_size < max(height, width):
            size = (max(height, least), max(width, least))
            image, target = _stretched(image, target, size)
        resized: tuple[Tensor, Target | None] = super().resize(image, target)
        return resized


def _stretched(image: Tensor, target: Target | None, size: tuple[int, int]) -> tuple[Tensor, Target | None]:
    across, down = size[1] / image.shape[-1], size[0] / image.shape[-2]
    if target is not None:
        boxes = target["boxes"] * target["boxes"].new_tensor([across, down, across, down])
        target = {**target, "boxes": boxes}
        if "masks" in target:
            target["masks"] = interpolate(target["masks"][:, None].float(), size=size)[:, 0].byte()
    return interpolate(image[None], size=size)[0], target
