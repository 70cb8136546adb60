"""Random shifts and mirror images against padding and slicing by hand."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dreg_sweep.augment import AUGMENTATIONS, CropFlip, get_augmentation
from dreg_sweep.config import conf_dir
from dreg_sweep.errors import UserError
from dreg_sweep.stack import seeded_generators

CPU = torch.device("cpu")
SHAPE = (2, 5, 7)


def batch(cells=3, samples=11, shape=SHAPE, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(cells, samples, int(np.prod(shape)), generator=generator, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("pad", [0, 1, 4])
def test_every_image_is_padded_cut_and_mirrored(pad, flip, dtype):
    x = batch(dtype=dtype)
    augmentation = CropFlip(pad, flip)
    found = augmentation.apply(x, SHAPE, seeded_generators([4, 5, 6], CPU))
    down, right, mirrored = augmentation.draws(11, seeded_generators([4, 5, 6], CPU))
    for cell in range(3):
        for sample in range(11):
            frame = np.pad(x[cell, sample].view(SHAPE).numpy(), ((0, 0), (pad, pad), (pad, pad)))
            i, j = down[cell, sample], right[cell, sample]
            expected = frame[:, i : i + 5, j : j + 7]
            if mirrored[cell, sample]:
                expected = expected[:, :, ::-1]
            np.testing.assert_array_equal(found[cell, sample].view(SHAPE).numpy(), expected)
    assert (found.shape, found.dtype) == (x.shape, dtype)
    assert bool(mirrored.any()) is flip


def test_shifts_are_uniform_and_half_of_the_images_mirrored():
    """Read off the images alone, whose pixels are numbered; each of 18 outcomes, within five standard errors."""
    numbered = torch.arange(1.0, 26.0).repeat(2, 9000, 1)
    images = CropFlip(1, True).apply(numbered, (1, 5, 5), seeded_generators([0, 1], CPU)).view(2, 9000, 5, 5)
    for cell in images:
        centre = cell[:, 2, 2]  # mirroring leaves it in place
        outcomes = Counter(zip(centre.tolist(), (cell[:, 2, 3] < centre).tolist(), strict=True))
        assert set(outcomes) == {(c, m) for c in (7, 8, 9, 12, 13, 14, 17, 18, 19) for m in (False, True)}
        deviations = (np.array(list(outcomes.values())) - 500) / np.sqrt(9000 * 1 / 18 * 17 / 18)
        assert np.abs(deviations).max() < 5
        assert (deviations**2).sum() < 50  # about χ² of 17 degrees of freedom: mean 17, sd 5.8


def test_a_cell_does_not_depend_on_its_place_in_the_stack():
    x, augmentation = batch(), CropFlip(2, True)
    together = augmentation.apply(x, SHAPE, seeded_generators([4, 5, 6], CPU))
    turned = augmentation.apply(x[[2, 0, 1]], SHAPE, seeded_generators([6, 4, 5], CPU))
    assert torch.equal(turned, together[[2, 0, 1]])
    for cell in range(3):
        alone = augmentation.apply(x[cell : cell + 1], SHAPE, seeded_generators([4 + cell], CPU))
        assert torch.equal(alone[0], together[cell])


def test_every_step_and_every_cell_draws_anew_and_a_stream_repeats():
    x, augmentation = batch(1).expand(2, -1, -1).contiguous(), CropFlip(2, True)
    streams = seeded_generators([0, 1], CPU)
    first, second = (augmentation.apply(x, SHAPE, streams) for _ in range(2))
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(augmentation.apply(x, SHAPE, seeded_generators([0, 1], CPU)), first)


def test_the_batch_itself_is_left_as_it_was():
    x = batch()
    before = x.clone()
    changed = CropFlip(0, False).apply(x, SHAPE, seeded_generators([0, 1, 2], CPU))
    assert torch.equal(changed, before)
    changed.zero_()
    assert torch.equal(x, before)


def test_options_and_none():
    assert get_augmentation("none", {}, (7,)) is None
    assert get_augmentation("crop_flip", {"pad": 4, "flip": True}, (3, 32, 32)) == CropFlip(4, True)
    assert get_augmentation("crop_flip", {"pad": 4, "flip": False}, SHAPE) == CropFlip(4, False)


@pytest.mark.parametrize(
    ("name", "options", "shape", "message"),
    [
        ("rotate", {}, SHAPE, "augmentation=rotate is unknown; choose one of: crop_flip, none"),
        ("none", {"pad": 4}, SHAPE, "augmentation=none: .*'pad'"),
        ("crop_flip", {"pad": 1, "flip": True, "angle": 3}, SHAPE, "augmentation=crop_flip: .*'angle'"),
        ("crop_flip", {"flip": True}, SHAPE, "augmentation=crop_flip: .*'pad'"),
        ("crop_flip", {"pad": 4, "flip": True}, (784,), "crop_flip needs images; an input here has the shape 784"),
        (
            "crop_flip",
            {"pad": 5, "flip": True},
            SHAPE,
            "augmentation.pad=5 must be a whole number from 0 to 4 for",
        ),
        ("crop_flip", {"pad": -1, "flip": True}, SHAPE, "augmentation.pad=-1 must be a whole number"),
        ("crop_flip", {"pad": 1.0, "flip": True}, SHAPE, "augmentation.pad=1.0 must be a whole number"),
        ("crop_flip", {"pad": True, "flip": True}, SHAPE, "augmentation.pad=True must be a whole number"),
        ("crop_flip", {"pad": 1, "flip": 1}, SHAPE, "augmentation.flip=1 must be true or false"),
    ],
)
def test_mistakes(name, options, shape, message):
    with pytest.raises(UserError, match=message) as caught:
        get_augmentation(name, options, shape)
    assert "\n" not in str(caught.value)


def test_every_level_is_in_the_registry_and_every_augmentation_a_level():
    levels = {path.stem: path for path in Path(conf_dir() / "augmentation").glob("*.yaml")}
    assert set(levels) == set(AUGMENTATIONS)
    for stem, path in levels.items():
        level = yaml.safe_load(path.read_text())
        assert level.pop("name") == stem
        get_augmentation(stem, level, (3, 32, 32))
