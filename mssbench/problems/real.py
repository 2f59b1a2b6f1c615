"""Covariances of real data from the wheels of scikit-image and scikit-learn.

Nothing is downloaded: only the images listed below are opened. Decoders of different versions may
differ in the last bit. Every decoded array is therefore compared with a stored hash, and a
different one is refused rather than measured under the same name.
"""

import hashlib
import importlib
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mssbench.errors import NotInstalled, Unsupported
from mssbench.problems import spectra
from mssbench.problems.generator import Bounds
from mssbench.problems.registry import register_problem
from mssbench.problems.rng import Floats, Streams

_SKIMAGE = "van der Walt et al., scikit-image: image processing in Python, PeerJ 2014"
Image: TypeAlias = Literal[
    "astronaut",
    "brick",
    "camera",
    "cell",
    "chelsea",
    "china",
    "clock",
    "coffee",
    "coins",
    "flower",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "logo",
    "microaneurysms",
    "moon",
    "page",
    "retina",
    "rocket",
    "stereo_motorcycle",
    "text",
]
DatasetName: TypeAlias = Literal["breast_cancer", "wine"]
# The first 16 digits of the SHA-256 of "dtype shape " and the bytes of each array.
DIGESTS = {
    "astronaut": "d9135e776018b6cb",
    "brick": "0fd96b7d234b96de",
    "camera": "aa6392f41e6b5c2d",
    "cell": "13dce0d706ddbd9c",
    "chelsea": "f557f9b317114c13",
    "china": "5d49c757fe2f4190",
    "clock": "d1b04ba908792dc4",
    "coffee": "d6daf5b84a4a64a8",
    "coins": "8ef5485724125bf5",
    "flower": "5706fe9b0bcbe071",
    "grass": "126cf3b57b6c8f38",
    "gravel": "52d944a1131e0f69",
    "hubble_deep_field": "fefd5db0e16d02a1",
    "immunohistochemistry": "9c0fc27fe9809fe3",
    "logo": "145e4b74bfa68184",
    "microaneurysms": "434d40fd2c4029cf",
    "moon": "dcc3d46e95cf465f",
    "page": "2bfe73a3b460927d",
    "retina": "b21384499410a757",
    "rocket": "ec4120d8a60b9afb",
    "stereo_motorcycle": "40290806c8e5dddc",
    "text": "2662100eb916f41e",
    "lfw_subset": "0614d9ed87aea3ab",
    "breast_cancer": "1346368ddc44f22e",
    "wine": "eafb8cf2e5306c56",
    "digits": "5beac2b2123177f3",
    "digits target": "b957d03399c4dddb",
}
_WIDTH = {"breast_cancer": 30, "wine": 13}
_PACKAGES = {"skimage.data": "scikit-image", "sklearn.datasets": "scikit-learn"}
_FACES, _FACE_SIDE = 100, 25  # the first 100 of 200 images; the others show no faces


def _square_fit(limit: int) -> Callable[..., str | None]:
    def fits(n: int, **_: Any) -> str | None:
        if n <= limit * limit and math.isqrt(n) ** 2 == n:
            return None
        return f"patches are square: the size must be a square number up to {limit * limit}"

    return fits


@register_problem(
    cite=_SKIMAGE,
    extra="data",
    bounds={"samples": Bounds(2, 1 << 16)},
    fits=_square_fit(32),
    sizes="square numbers up to 1024",
    samples=lambda *_, samples, **__: samples,
)
def patchcov(n: int, rng: Streams, *, image: Image = "grass", samples: int = 1024) -> Floats:
    """Covariance of the pixels of random square patches of an image, with a natural spectrum.

    A = covariance of `samples` patches of sqrt(n) by sqrt(n) grey pixels at random positions. With
    few samples the matrix is singular.
    """
    side, picture = math.isqrt(n), grey(image)
    across, down = picture.shape[1] - side + 1, picture.shape[0] - side + 1
    i, j = rng.integers(down, samples), rng.integers(across, samples)
    step = np.arange(side)
    rows = i[:, :, None, None] + step[:, None]
    columns = j[:, :, None, None] + step
    return spectra.gram(picture[rows, columns].reshape(len(rng), samples, n))


def _tabular_fits(n: int, table: DatasetName, **_: Any) -> str | None:
    width = _WIDTH[table]
    return None if n == width else f"{table} exists at size {width} only"


@register_problem(
    cite="Pedregosa et al., Scikit-learn: machine learning in Python, JMLR 2011",
    extra="data",
    fits=_tabular_fits,
    sizes="30 (breast_cancer), 13 (wine)",
)
def tabular(
    n: int, rng: Streams, *, table: DatasetName = "breast_cancer", zscore: bool = False
) -> Floats:
    """Covariance of the columns of a table, whose units cause a condition of 1e7 to 1e12.

    A = covariance of as many rows as the table has, drawn with replacement. The matrix is graded,
    so that unlike a rotated matrix of that condition it stays positive definite in float32. zscore:
    scale the columns to variance 1.
    """
    x = _sklearn(table)
    rows = len(x)

    if zscore:
        columns = np.ascontiguousarray(x.T)
        columns = columns - (spectra.sequential_sum(columns) / rows)[:, None]
        deviation = np.sqrt(spectra.sequential_sum(columns * columns) / rows)
        x = np.ascontiguousarray((columns / deviation[:, None]).T)
    return spectra.gram(x[rng.integers(rows, rows)][..., :n])


@register_problem(
    cite="Alpaydin and Kaynak, Cascading classifiers, Kybernetika 1998", extra="data", fixed_size=64
)
def digits_class(n: int, rng: Streams) -> Floats:
    """Covariance of the 8 by 8 images of one digit, some of whose pixels are constant.

    A = covariance of the images of digit (index mod 10), drawn with replacement. Constant pixels
    give zero rows.
    """
    x, target = _sklearn("digits"), _digit_target()
    words = rng.integers(1 << 31, int(np.bincount(target).max()))
    out = np.empty((len(rng), n, n))

    for k, index in enumerate(rng.indices):
        images = x[target == index % 10]
        chosen = words[k, : len(images)] * len(images) >> 31
        out[k] = spectra.gram(images[chosen][None])[0]
    return out


@register_problem(
    cite="Huang et al., Labeled Faces in the Wild, University of Massachusetts Amherst 2007",
    extra="data",
    bounds={"samples": Bounds(2, _FACES)},
    fits=_square_fit(_FACE_SIDE),
    sizes="square numbers up to 625",
    samples=lambda *_, samples: samples,
)
def lfw_faces(n: int, rng: Streams, *, samples: int = 80) -> Floats:
    """Covariance of the pixels of face images, with far fewer samples than dimensions.

    A = covariance of `samples` of 100 faces, the central sqrt(n) by sqrt(n) pixels of each.
    """
    faces, side = _faces()[:_FACES], math.isqrt(n)
    edge = (_FACE_SIDE - side) // 2
    crop = faces[:, edge : edge + side, edge : edge + side].reshape(_FACES, n)
    return spectra.gram(crop[rng.subset(samples, _FACES)])


@lru_cache(maxsize=4)
def grey(image: str) -> Floats:
    """Return a listed image as (height, width): 0.299 R + 0.587 G + 0.114 B, from 0 to 1."""
    if image in ("china", "flower"):
        pixels = _call("sklearn.datasets", "load_sample_image", f"{image}.jpg")
    else:
        pixels = _call("skimage.data", image)
        pixels = pixels[0] if isinstance(pixels, tuple) else pixels  # the left one of a stereo pair

    x = _pinned(image, pixels).astype(np.float64)
    if x.ndim == 3:
        x = x[..., 0] * 0.299 + x[..., 1] * 0.587 + x[..., 2] * 0.114
    grey: Floats = x / 255.0
    return grey


@lru_cache(maxsize=1)
def _faces() -> Floats:
    """Return all 200 images of the subset of Labeled Faces in the Wild, (200, 25, 25)."""
    return _pinned("lfw_subset", _call("skimage.data", "lfw_subset")).astype(np.float64)


@lru_cache(maxsize=3)
def _sklearn(table: str) -> Floats:
    """Return a table of scikit-learn, (rows, columns)."""
    return _pinned(table, _call("sklearn.datasets", f"load_{table}").data).astype(np.float64)


@lru_cache(maxsize=1)
def _digit_target() -> NDArray[np.int64]:
    target = _call("sklearn.datasets", "load_digits").target
    return _pinned("digits target", target.astype(np.int64))


def _call(module: str, function: str, *arguments: str) -> Any:
    """Call a function of an optional package, by the names of its module and of itself.

    Raises NotInstalled if the package is missing, or another that it needs to decode its images.
    """
    try:
        return getattr(importlib.import_module(module), function)(*arguments)
    except ImportError as error:
        package = _PACKAGES[module]
        raise NotInstalled(
            f"real data needs {package}: pip install 'mssbench[data]' ({error})"
        ) from error


def digest(x: NDArray[Any]) -> str:
    """Return 16 hex digits over the type, the shape and the bytes of an array."""
    head = f"{x.dtype} {x.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(x).tobytes()).hexdigest()[:16]


def _pinned(name: str, x: NDArray[Any]) -> NDArray[Any]:
    actual = digest(x)
    if actual != DIGESTS[name]:
        raise Unsupported(
            f"the installed package decodes {name!r} to other values than those that define this "
            f"problem (hash {actual}, not {DIGESTS[name]})"
        )
    return x
