"""What is refused of a file and in which words; covariances, rounding, cotangents."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.own_files import RNG, A, made, refusal, symmetric

from mssbench import problems
from mssbench.problems import file_checks


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in a folder of its own, which relative paths start at."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def saved(name: str, **arrays: np.ndarray) -> str:
    np.savez(name, **arrays)
    return f"file(path={name})"


# What the numbers mean


@pytest.mark.parametrize("shape", [(3, 4, 9), (3, 4, 2)])
def test_features_give_a_covariance_per_sample(shape: tuple[int, ...]) -> None:
    x = RNG.normal(size=shape) + 5
    np.save("x.npy", x)
    centred = x - x.mean(axis=2, keepdims=True)
    expected = np.stack([each @ each.T / shape[2] for each in centred])
    text = problems.canonical("file(path=x.npy)")
    assert "kind=features" in text
    np.testing.assert_allclose(made(text).master, expected, atol=1e-13)


def test_samples_by_variables_give_one_covariance() -> None:
    x = RNG.normal(size=(30, 4)) * [1, 10, 100, 1]
    np.save("x.npy", x)
    found = made("file(path=x.npy)", batch=1).master[0]
    np.testing.assert_allclose(found, np.cov(x.T, bias=True), rtol=1e-12, atol=1e-12)


def test_square_and_symmetric_is_matrices_unless_kind_says_features() -> None:
    np.save("x.npy", A)
    assert "kind=matrices" in problems.canonical("file(path=x.npy)")
    text = problems.canonical("file(path=x.npy, kind=features)")
    expected = np.stack([np.cov(each, bias=True) for each in A])
    np.testing.assert_allclose(made(text).master, expected, atol=1e-14)
    np.save("one.npy", A[1])
    np.testing.assert_array_equal(made("file(path=one.npy)", batch=1).master, A[1:2])


def test_square_and_asymmetric_is_refused_and_names_kind() -> None:
    a = A.copy()
    a[1, 0, 2] += 0.5 * np.abs(a[1]).max()
    np.save("x.npy", a)
    far = np.abs(a[1] - a[1].T).max() / np.abs(a[1]).max()
    start = (
        "x.npy: matrix 1 is not symmetric: entries that should be equal differ by "
        f"{far:.1e} of the largest; rounding explains 2e-06. "
    )
    assert (
        refusal("file(path=x.npy)")
        == start + "If these are features, give kind=features, or --kind features."
    )
    assert refusal("file(path=x.npy, kind=matrices)") == start + "Symmetrise it."
    assert made("file(path=x.npy, kind=features)").master.shape == (3, 4, 4)


def test_matrices_must_be_square() -> None:
    np.save("x.npy", A[:, :, :3])
    assert refusal("file(path=x.npy, kind=matrices)") == (
        "x.npy has the shape (3, 4, 3), which is not that of square matrices."
    )


def in_bits(a: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    return torch.tensor(a).to(dtype)


@pytest.mark.parametrize(
    ("dtype", "within", "beyond"),
    [
        (torch.float64, 1e-6, 4e-6),
        (torch.float32, 1e-6, 4e-6),
        (torch.float16, 2e-3, 8e-3),
        (torch.bfloat16, 1.6e-2, 6e-2),
    ],
)
def test_asymmetry_within_rounding_is_averaged_and_beyond_it_refused(
    dtype: torch.dtype, within: float, beyond: float
) -> None:
    for far, name in ((within, "near.pt"), (beyond, "far.pt")):
        a = np.tile(np.eye(4), (3, 1, 1))
        a[2, 0, 1] += far
        torch.save(in_bits(a, dtype), name)
    stored = in_bits(np.array([within]), dtype).double().item()
    near = made("file(path=near.pt)").master[2]
    assert near[0, 1] == near[1, 0] == stored / 2
    said = problems.describe("file(path=near.pt)", [1])
    assert said is not None
    assert said.endswith("was averaged away")
    assert refusal("file(path=far.pt)").startswith("far.pt: matrix 2 is not symmetric")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble", ">f8", "int32"])
def test_number_types_are_converted_exactly(dtype: str) -> None:
    a = np.tile(np.diag([4.0, 2.0, 1.0, 3.0]), (3, 1, 1)).astype(dtype)
    np.save("x.npy", np.asfortranarray(a))
    master = made("file(path=x.npy)").master
    assert master.dtype == np.float64
    np.testing.assert_array_equal(master, a)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_bfloat16_is_read_bit_for_bit(ending: str) -> None:
    stored = torch.tensor(A).to(torch.bfloat16)
    stored = torch.tril(stored) + torch.tril(stored, -1).mT
    if ending == "pt":
        torch.save(stored, "x.pt")
    else:
        pytest.importorskip("safetensors", reason="safetensors is in mssbench[files] and [test]")
        bits = stored.contiguous().view(torch.int16).numpy().tobytes()
        head = f'{{"a":{{"dtype":"BF16","shape":[3,4,4],"data_offsets":[0,{len(bits)}]}}}}'
        content = struct.pack("<Q", len(head)) + head.encode() + bits
        Path("x.safetensors").write_bytes(content)
    text = f"file(path=x.{ending})"
    np.testing.assert_array_equal(made(text).master, stored.double().numpy())
    assert ", bfloat16, " in (problems.describe(text, [1]) or "")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (A + 0j, "x.npy is complex128: complex matrices cannot be measured."),
        (A > 0, "x.npy is bool, which is not a type of numbers."),
        (np.array([["a", "b"]]), "x.npy is str32, which is not a type of numbers."),
        (
            np.ones(4),
            "x.npy has the shape (4,): matrices are (b, n, n) or (n, n), features are "
            "(b, n, M), or (N, n) with samples as rows; none may be empty.",
        ),
        (
            np.ones((0, 4, 4)),
            "x.npy has the shape (0, 4, 4): matrices are (b, n, n) or (n, n), "
            "features are (b, n, M), or (N, n) with samples as rows; none may be empty.",
        ),
        (np.ones((2, 4, 1)), "x.npy has one sample: a covariance needs two."),
        (np.ones((1, 4)), "x.npy has one sample: a covariance needs two."),
    ],
)
def test_what_is_no_matrix_is_refused_by_name(array: np.ndarray, words: str) -> None:
    np.save("x.npy", array)
    assert refusal("file(path=x.npy)") == words


def test_complex_tensors_are_refused_as_well() -> None:
    torch.save(torch.eye(3, dtype=torch.complex64), "x.pt")
    assert refusal("file(path=x.pt)") == "x.pt is complex64: complex matrices cannot be measured."


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_matrix_that_is_not_finite_is_named(value: float) -> None:
    a = A.copy()
    a[1:, 3, 2] = a[1:, 2, 3] = value
    np.save("x.npy", a)
    words = "x.npy: matrix 1 has entries that are NaN or infinite."
    assert refusal("file(path=x.npy)") == words
    np.save("x.npy", a[:, :, 1:])  # features
    assert refusal("file(path=x.npy)") == words
    np.save("x.npy", a[1, :, 1:])
    assert refusal("file(path=x.npy)") == "x.npy: row 2 has entries that are NaN or infinite."


def test_an_indefinite_matrix_is_refused_with_its_eigenvalues() -> None:
    a = A.copy()
    a[2] = np.diag([3.0, -0.25, 1.0, 1.0])
    np.save("x.npy", a)
    assert refusal("file(path=x.npy)") == (
        "x.npy: matrix 2 is indefinite: its eigenvalues go from -0.25 to 3, and rounding explains "
        "-3e-06. A square root needs eigenvalues of 0 or more."
    )
    np.save("x.npy", -A)
    assert refusal("file(path=x.npy)").startswith("x.npy: matrix 0 is indefinite")


def test_the_indefinite_matrix_is_found_in_any_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_checks, "_PART_BYTES", 2 * 8 * 16)
    a = np.tile(np.eye(4), (7, 1, 1))
    a[5] = np.diag([1.0, 1, 1, -0.1])
    np.save("x.npy", a)
    assert refusal("file(path=x.npy)").startswith("x.npy: matrix 5 is indefinite: its eigenvalues")


@pytest.mark.parametrize("far", [0.5, 2.0])
def test_eigenvalues_decide_how_negative_is_too_negative(far: float) -> None:
    """The bound is a share of the largest eigenvalue, which no diagonal entry shows."""
    n, least = 4, 2.0 * 4 * 2.0**-23  # √n roundings of 4 float32 units each
    v = np.full((n, 1), 0.5)
    a = v @ v.T  # largest eigenvalue 1, diagonal 1/4
    w = np.array([[0.5], [-0.5], [0.5], [-0.5]])
    np.save("x.npy", a - far * least * (w @ w.T))
    if far < 1:
        assert made("file(path=x.npy)", batch=1).master.shape == (1, 4, 4)
    else:
        assert "matrix 0 is indefinite" in refusal("file(path=x.npy)")


def test_large_files_have_some_of_their_eigenvalues_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(file_checks, "_EIGENVALUE_COST", 3 * 4**3)
    np.save("x.npy", np.arange(1, 6)[:, None, None] * np.diag([1.0, 2, 3, 4]))
    assert problems.describe("file(path=x.npy)", [5]) == (
        "x.npy: 5 matrices of 4 × 4, float64, condition about 4 (median of 3), rank 4"
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_negative_eigenvalue_of_rounding_passes(dtype: type) -> None:
    v = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    a = (v * [-1e-8, 0.1, 0.5, 1.0]) @ v.T
    np.save("x.npy", symmetric(a)[None].astype(dtype))
    assert made("file(path=x.npy)", batch=1).master.shape == (1, 4, 4)


def test_a_singular_covariance_of_float32_features_passes() -> None:
    x = RNG.normal(size=(8, 64, 16)).astype(np.float32)
    a = x @ x.swapaxes(1, 2) / np.float32(16)
    np.save("x.npy", a)
    assert "rank 16" in (problems.describe("file(path=x.npy)", [8]) or "")


# Cotangents


@pytest.mark.parametrize(
    ("g", "words"),
    [
        (A[:2], "x.npz[cotangent] has the shape (2, 4, 4), but the matrices (3, 4, 4)."),
        (A * np.nan, "x.npz[cotangent]: matrix 0 has entries that are NaN or infinite."),
        (A * [[[1]], [[0]], [[1]]], "x.npz[cotangent]: the symmetric part of cotangent 1 is zero."),
    ],
)
def test_cotangents_that_do_not_fit_are_refused(g: np.ndarray, words: str) -> None:
    saved("x.npz", matrices=A, cotangent=g)
    assert refusal("file(path=x.npz)") == words


def test_without_cotangents_there_are_random_ones() -> None:
    np.save("x.npy", A)
    g = made("file(path=x.npy)").cotangent
    np.testing.assert_allclose(np.linalg.norm(g, axis=(1, 2)), 1, rtol=1e-14)
    assert not np.array_equal(g[0], g[1])
    assert "with cotangents" not in (problems.describe("file(path=x.npy)", [1]) or "")


def test_matrices_are_preferred_where_features_lie_beside_them() -> None:
    text = saved("x.npz", features=np.ones((3, 4, 9)), matrices=A)
    assert "key=matrices" in problems.canonical(text)
    text = saved("y.npz", features=RNG.normal(size=(3, 4, 9)), other=A)
    assert "key=features" in problems.canonical(text)


# What is said


def test_the_line_on_a_file_says_what_was_read() -> None:
    a = np.tile(np.diag([1.0, 0.1, 1e-2, 1e-4]), (5, 1, 1)).astype(np.float32)
    a[0, 0, 1] = 2e-8
    np.save("x.npy", a)
    assert problems.describe("file(path=x.npy)", [5]) == (
        "x.npy: 5 matrices of 4 × 4, float32, condition about 1e4 (median), rank 4; "
        "asymmetry 2e-8 was averaged away"
    )
    np.save("x.npy", np.diag([1.0, 0.5, 0.0, 0.0]))
    assert problems.describe("file(path=x.npy)", [1]) == "x.npy: 1 matrix of 4 × 4, float64, rank 2"
    np.save("x.npy", np.stack([np.eye(4), np.diag([1.0, 1, 1, 0]), np.zeros((4, 4))]))
    assert problems.describe("file(path=x.npy)", [1]) == (
        "x.npy: 3 matrices of 4 × 4, float64, rank 0 to 4"
    )


def test_the_line_on_features_says_how_many_samples_there_are() -> None:
    np.save("x.npy", RNG.normal(size=(2, 3, 9)).astype(np.float16))
    said = problems.describe("file(path=x.npy)", [2]) or ""
    assert said.startswith("x.npy: 2 matrices of 3 × 3, covariance of 9 samples each, float16, ")
    np.save("x.npy", RNG.normal(size=(9, 3)))
    said = problems.describe("file(path=x.npy)", [2]) or ""
    assert said.startswith("x.npy: 1 matrix of 3 × 3, covariance of 9 samples each, float64, ")


def test_a_file_that_is_measured_in_a_shorter_precision_than_it_has_is_said_to_be() -> None:
    np.save("x.npy", np.diag([1.0, 0.1, 1e-6, 1e-12]))
    text = "file(path=x.npy)"
    said = problems.describe(text, [1], ["float32"]) or ""
    assert said.endswith(
        "rank 4; measured in float32 (there rank 3), not float64: --set precision=float64 keeps "
        "all digits"
    )
    assert "measured in" not in (problems.describe(text, [1], ["float64"]) or "")
    np.save("x.npy", np.diag([1.0, 0.1]))
    assert "; measured in tf32, not float64" in (problems.describe(text, [1], ["tf32"]) or "")
    np.save("x.npy", np.diag([1.0, 0.1]).astype(np.float32))
    assert "measured in" not in (problems.describe(text, [1], ["float32"]) or "")
    assert "measured in bfloat16, not" in (problems.describe(text, [1], ["bfloat16"]) or "")
