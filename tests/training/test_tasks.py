"""The tasks: what they hold, that training and test data are apart, and that they are the same."""

import numpy as np
import pytest
import torch

from mssbench.errors import SuiteError
from mssbench.problems.real import grey
from mssbench.training.tasks import images
from mssbench.training.tasks.registry import names, task


@pytest.mark.parametrize(
    ("name", "shape", "train", "test", "classes"),
    [
        ("digits", (1, 8, 8), 1200, 597, 10),
        ("tex12", (1, 28, 28), 2400, 1200, 12),
        ("texfine", (1, 28, 28), 2400, 1200, 12),
        ("smallcov", (32, 196), 300, 180, 6),
        ("largecov", (32, 196), 300, 180, 6),
    ],
)
def test_a_task_has_its_samples_and_every_class(name, shape, train, test, classes) -> None:
    made = task(name)
    assert made.train.inputs.shape == (train, *shape)
    assert made.test.inputs.shape == (test, *shape)
    assert made.classes == classes
    for part in (made.train, made.test):
        assert part.inputs.dtype == torch.float32
        assert torch.isfinite(part.inputs).all()
        assert set(part.labels.tolist()) == set(range(classes))


def test_no_sample_is_in_both_parts() -> None:
    for name in names():
        parts = [
            {row.numpy().tobytes() for row in part.inputs.flatten(1)}
            for part in (task(name).train, task(name).test)
        ]
        assert not parts[0] & parts[1], name
        # A patch may be drawn twice within its part, which is rare.
        assert sum(map(len, parts)) > 0.99 * (len(task(name).train) + len(task(name).test)), name


def test_patches_of_an_image_come_from_blocks_of_one_part_alone() -> None:
    """Each patch is found again in the image, and the blocks of both parts are disjoint."""
    image, made = grey("brick"), task("tex12")
    windows = np.lib.stride_tricks.sliding_window_view(image, (28, 28))
    blocks: dict[str, set[tuple[int, int]]] = {}
    for part in ("train", "test"):
        data = getattr(made, part)
        patches = data.inputs[data.labels == 0][:4, 0].numpy().astype(np.float64)
        blocks[part] = {_place(windows, patch) for patch in patches}

    assert blocks["train"]
    assert blocks["test"]
    assert not blocks["train"] & blocks["test"]


def _place(windows: np.ndarray, patch: np.ndarray) -> tuple[int, int]:
    """The block of the image that a standardised patch was cut from."""
    corner = windows[..., 0, 0], windows[..., 13, 13], windows[..., 27, 27]
    first, middle, last = (patch[i, i] for i in (0, 13, 27))
    ratio = (corner[1] - corner[0]) * (last - first) - (corner[2] - corner[0]) * (middle - first)
    candidates = np.argwhere(abs(ratio) < 1e-5)
    for i, j in candidates:
        window = windows[i, j]
        if window.std() > 0 and np.allclose(
            (window - window.mean()) / window.std(), patch, atol=1e-5
        ):
            return int(i) // 64, int(j) // 64
    raise AssertionError("the patch is not in the image")


def test_brightness_and_contrast_of_a_patch_tell_nothing() -> None:
    for name in ("tex12", "texfine"):
        inputs = task(name).test.inputs.double()
        torch.testing.assert_close(
            inputs.mean((1, 2, 3)), torch.zeros(1200).double(), atol=1e-6, rtol=0
        )
        torch.testing.assert_close(
            inputs.var((1, 2, 3), correction=0), torch.ones(1200).double(), atol=1e-5, rtol=0
        )


def test_smallcov_has_classes_that_differ_in_small_eigenvalues_alone() -> None:
    """The mean covariance of a class, in the basis of all, has four doubled eigenvalues."""
    made = task("smallcov")
    x = torch.cat([made.train.inputs, made.test.inputs]).double()
    labels = torch.cat([made.train.labels, made.test.labels])
    a = x @ x.mT / x.shape[-1]
    w, v = torch.linalg.eigh(a.mean(0))
    by_class = [
        (v.mT @ a[labels == label].mean(0) @ v).diagonal() / w for label in range(made.classes)
    ]
    changed = torch.stack(by_class)  # (classes, eigenvalues), ascending
    assert changed[:, 16:].max() < 1.35, "the large half is alike in all classes"
    assert (changed[:, :16].amax(-1) > 1.4).all()


def test_an_unknown_task_is_named_with_the_nearest_one() -> None:
    with pytest.raises(SuiteError, match="Did you mean 'tex12'"):
        task("tex21")


def test_an_image_without_enough_texture_is_not_drawn_from() -> None:
    assert all(patch.std() > 0.99 for patch in task("texfine").train.inputs[:, 0])
    assert images.__doc__
