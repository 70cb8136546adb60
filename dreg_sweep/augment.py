"""Random changes of the training images of a batch, made on the device for all cells of a stack at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dreg_sweep.errors import UserError, unknown_level


@dataclass(frozen=True)
class CropFlip:
    """Each image shifted by up to ±`pad` pixels along both sides, and mirrored left-right half of the time.

    What moves in is zero, in standardized units the mean of the training images. All (2·pad + 1)² shifts are
    equally likely. The same as a random crop of the image in a frame of `pad` pixels, then a random horizontal
    flip (torchvision's RandomCrop with padding and RandomHorizontalFlip); He et al. 2016, section 4.2 (pad 4).
    """

    pad: int
    flip: bool

    def apply(self, x: Tensor, input_shape: tuple[int, ...], streams: Sequence[torch.Generator]) -> Tensor:
        """The changed images of x (S, B, D), D = C·H·W of `input_shape`; one draw from each cell's stream.

        A draw is one number an image, which says shift and mirroring; it lies where its stream does.
        """
        channels, height, width = input_shape
        cells, samples, _ = x.shape
        down, right, mirrored = (draw.to(x.device)[:, :, None] for draw in self.draws(samples, streams))
        images = x.view(cells, samples, channels, height, width)
        frame = torch.nn.functional.pad(images, (self.pad,) * 4)  # with zeros, on all four sides
        rows = down + torch.arange(height, device=x.device)  # (S, B, H), of the frame
        columns = torch.arange(width, device=x.device)
        columns = right + torch.where(mirrored, columns.flip(0), columns)  # (S, B, W)
        pixels = rows[:, :, :, None] * (width + 2 * self.pad) + columns[:, :, None, :]  # (S, B, H, W)
        index = pixels.view(cells, samples, 1, height * width).expand(-1, -1, channels, -1)
        return frame.flatten(3).gather(3, index).view(x.shape)

    def draws(self, samples: int, streams: Sequence[torch.Generator]) -> tuple[Tensor, Tensor, Tensor]:
        """The crop's corner in the frame, down and right, in 0..2·pad, and whether it is mirrored; each (S, B)."""
        places = 2 * self.pad + 1
        choices = places * places * (2 if self.flip else 1)
        draw = torch.empty((len(streams), samples), dtype=torch.int64, device=streams[0].device)
        for row, stream in zip(draw, streams, strict=True):
            row.random_(0, choices, generator=stream)
        corner = draw % (places * places)
        return corner // places, corner % places, draw >= places * places


def _none(input_shape: tuple[int, ...]) -> None:
    """Images as they are."""


def _crop_flip(input_shape: tuple[int, ...], *, pad: int, flip: bool) -> CropFlip:
    if len(input_shape) != 3:
        raise UserError(
            f"augmentation=crop_flip needs images; an input here has the shape {'×'.join(map(str, input_shape))}"
        )
    most = min(input_shape[1:]) - 1
    if type(pad) is not int or not 0 <= pad <= most:
        raise UserError(
            f"augmentation.pad={pad} must be a whole number from 0 to {most} for images of "
            f"{input_shape[1]}×{input_shape[2]} pixels"
        )
    if not isinstance(flip, bool):
        raise UserError(f"augmentation.flip={flip} must be true or false")
    return CropFlip(pad, flip)


AUGMENTATIONS: dict[str, Callable[..., CropFlip | None]] = {"none": _none, "crop_flip": _crop_flip}


def get_augmentation(name: str, options: Mapping[str, Any], input_shape: tuple[int, ...]) -> CropFlip | None:
    """The augmentation of that name, None for `none`; `UserError` for a name, option or input it cannot take."""
    if name not in AUGMENTATIONS:
        raise unknown_level("augmentation", name, AUGMENTATIONS)
    try:
        return AUGMENTATIONS[name](input_shape, **options)
    except TypeError as error:
        raise UserError(f"augmentation={name}: {error}") from None
