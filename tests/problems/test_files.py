"""Matrices of one's own: every format, what is refused and in which words, digests, wrapping."""

import io
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mssbench import problems
from mssbench.errors import NotInstalled, RegistryError, Unsupported
from mssbench.problems import file_formats, files
from mssbench.problems.text import quoted

RNG = np.random.default_rng(7)


def covariances(count: int = 3, n: int = 4, samples: int = 20) -> np.ndarray:
    x = RNG.normal(size=(count, n, samples))
    return symmetric(x @ x.swapaxes(1, 2) / samples)


def symmetric(a: np.ndarray) -> np.ndarray:
    return (a + np.swapaxes(a, -1, -2)) / 2


A = covariances()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in a folder of its own, which relative paths start at."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(text: str, size: int = 4, batch: int = 3) -> problems.Problem:
    return problems.make(text, size, batch, 0)


def refusal(text: str) -> str:
    with pytest.raises(RegistryError) as caught:
        problems.canonical(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def saved(name: str, **arrays: np.ndarray) -> str:
    np.savez(name, **arrays)
    return f"file(path={name})"


# Formats. Each writer takes the matrices and the arrays that lie beside them.


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(path, **arrays)


def write_pt(path: Path, arrays: dict[str, np.ndarray]) -> None:
    torch.save({name: torch.from_numpy(each) for name, each in arrays.items()}, path)


def write_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> None:
    pytest.importorskip("safetensors", reason="safetensors is in mssbench[files] and [test]")
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(each) for name, each in arrays.items()}, path)


def write_mat(path: Path, arrays: dict[str, np.ndarray]) -> None:
    import scipy.io

    scipy.io.savemat(path, arrays)


def write_h5(path: Path, arrays: dict[str, np.ndarray]) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is in mssbench[files] and [test]")
    with h5py.File(path, "w") as file:
        for name, each in arrays.items():
            file[name] = each


NAMED = {
    "npz": write_npz, "pt": write_pt, "pth": write_pt, "safetensors": write_safetensors,
    "mat": write_mat, "h5": write_h5, "hdf5": write_h5,
}  # fmt: skip
each_named = pytest.mark.parametrize("ending", NAMED)


@each_named
def test_every_format_with_names_gives_the_matrices_it_holds(ending: str, folder: Path) -> None:
    NAMED[ending](folder / f"x.{ending}", {"cov": A})
    text = problems.canonical(f"file(path=x.{ending})")
    assert text.startswith(f"file(path=x.{ending}, key=cov, kind=matrices, digest=")
    assert problems.canonical(text) == text
    np.testing.assert_array_equal(made(text).master, A)


@each_named
def test_a_key_chooses_among_several_arrays(ending: str, folder: Path) -> None:
    other = covariances()
    NAMED[ending](folder / f"x.{ending}", {"first": A, "second": other})
    np.testing.assert_array_equal(made(f"file(path=x.{ending}, key=second)").master, other)
    assert refusal(f"file(path=x.{ending})") == (
        f"x.{ending} holds 2 arrays: first, second. Choose one by key=NAME, or --key NAME."
    )
    assert refusal(f"file(path=x.{ending}, key=secnd)") == (
        f"Unknown array of x.{ending} 'secnd'. Did you mean 'second'? Known: first, second."
    )


@each_named
def test_cotangents_come_along_in_every_format_with_names(ending: str, folder: Path) -> None:
    g = RNG.normal(size=A.shape)
    NAMED[ending](folder / f"x.{ending}", {"cov": A, "cotangent": g})
    half = (g + g.swapaxes(1, 2)) / 2
    expected = half / np.sqrt((half**2).sum(axis=(1, 2)))[:, None, None]
    np.testing.assert_allclose(made(f"file(path=x.{ending})").cotangent, expected, rtol=1e-13)


def test_npy_and_csv_hold_one_array_without_a_name() -> None:
    np.save("x.npy", A)
    np.testing.assert_array_equal(made("file(path=x.npy)").master, A)
    assert "key" not in problems.canonical("file(path=x.npy)")
    np.savetxt("x.csv", A[0], delimiter=",")
    np.testing.assert_array_equal(made("file(path=x.csv)", batch=1).master, A[:1])
    assert refusal("file(path=x.npy, key=cov)") == (
        "x.npy holds one array, which has no name: leave out key=cov."
    )


def test_a_csv_may_have_a_header_and_is_samples_by_variables() -> None:
    x = RNG.normal(size=(9, 4))
    rows = "\n".join(",".join(map(repr, row)) for row in x.tolist())
    Path("x.csv").write_text("\ufeffa,b,c,d\n" + rows + "\n", encoding="utf-8")
    expected = np.cov(x.T, bias=True)
    np.testing.assert_allclose(made("file(path=x.csv)", batch=1).master[0], expected, atol=1e-14)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "x.csv: cannot be read: it has no line of numbers"),
        ("a,b\n", "x.csv: cannot be read: it has no line of numbers"),
        ("1,2\n3,x\n", "x.csv: cannot be read: could not convert string 'x' to float64"),
        ("1,2\n3\n", "x.csv: cannot be read: "),
    ],
)
def test_a_csv_that_is_no_table_of_numbers_is_refused(text: str, words: str) -> None:
    Path("x.csv").write_text(text)
    assert refusal("file(path=x.csv)").startswith(words)


def test_matlab_s_pages_stand_last(folder: Path) -> None:
    write_mat(folder / "x.mat", {"cov": np.moveaxis(A, 0, 2)})
    np.testing.assert_array_equal(made("file(path=x.mat)").master, A)


def test_matlab_7_3_is_hdf5_with_its_axes_reversed() -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is in mssbench[files] and [test]")
    pages = np.moveaxis(A.copy(), 0, 2)
    pages[0, 1] += 1e-9  # so that a wrong order of the axes shows
    with h5py.File("x.mat", "w", userblock_size=512) as file:
        file["cov"] = pages.T
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512)
    with Path("x.mat").open("r+b") as file:
        file.write(header)
    expected = symmetric(np.moveaxis(pages, 2, 0))
    np.testing.assert_array_equal(made("file(path=x.mat)").master, expected)


def test_a_tensor_alone_and_nested_dictionaries_are_read() -> None:
    torch.save(torch.from_numpy(A).requires_grad_(), "x.pt")
    np.testing.assert_array_equal(made("file(path=x.pt)").master, A)
    torch.save({"state": {"cov": torch.from_numpy(A), "step": 3}}, "y.pt")
    assert "key=state.cov" in problems.canonical("file(path=y.pt)")


def test_groups_of_hdf5_are_part_of_the_key() -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is in mssbench[files] and [test]")
    with h5py.File("x.h5", "w") as file:
        file["layer/cov"] = A
    assert "key=layer/cov" in problems.canonical("file(path=x.h5)")


def test_an_unknown_ending_names_those_that_are_known() -> None:
    Path("x.npx").write_bytes(b"")
    assert refusal("file(path=x.npx)") == (
        "x.npx: Unknown ending '.npx'. Did you mean '.npz'? Known: .csv, .h5, .hdf5, .mat, .npy, "
        ".npz, .pt, .pth, .safetensors."
    )


@pytest.mark.parametrize("ending", file_formats.READERS)
def test_a_file_of_garbage_is_one_line(ending: str) -> None:
    if ending == ".safetensors":
        pytest.importorskip("safetensors", reason="safetensors is in mssbench[files] and [test]")
    if ending in (".h5", ".hdf5"):
        pytest.importorskip("h5py", reason="h5py is in mssbench[files] and [test]")
    for content in (b"", b"\x00\xff" * 100, b"PK\x03\x04 no archive"):
        Path(f"x{ending}").write_bytes(content)
        assert refusal(f"file(path=x{ending})").startswith(f"x{ending}: ")


@pytest.mark.parametrize(
    ("package", "ending"), [("safetensors", "safetensors"), ("h5py", "h5"), ("h5py", "hdf5")]
)
def test_a_missing_package_comes_with_its_install_line(
    package: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    Path(f"x.{ending}").write_bytes(b"anything")
    text = problems.canonical(f"file(path=x.{ending})")
    assert "digest=" in text  # its cells are rows that say what is missing
    with pytest.raises(
        NotInstalled,
        match=rf"^x.{ending}: reading it needs {package}: pip install 'mssbench\[files\]'",
    ):
        problems.check_size(text, 4)


# Nothing is unpickled


class Trap:
    """Unpickling one of these makes a file."""

    def __reduce__(self):
        return (os.mkdir, ("sprung",))


def test_pickles_are_never_loaded(folder: Path) -> None:
    trap = np.empty(1, dtype=object)
    trap[0] = Trap()
    np.save("array.npy", trap, allow_pickle=True)
    np.savez("member.npz", matrices=trap)
    Path("plain.npy").write_bytes(pickle.dumps(Trap()))
    Path("plain.npz").write_bytes(pickle.dumps(Trap()))
    Path("plain.pt").write_bytes(pickle.dumps(Trap()))
    torch.save(Trap(), "trap.pt")
    torch.save({"cov": torch.eye(3), "trap": Trap()}, "beside.pt")
    paths = sorted(folder.iterdir())
    assert len(paths) == 7
    for path in paths:
        assert refusal(f"file(path={path.name})") == (
            f"{path.name}: cannot be read: it is damaged, or holds pickled objects, which are "
            "never loaded."
        )
    assert not Path("sprung").exists()
    pickle.loads(Path("plain.npy").read_bytes())
    assert Path("sprung").exists()  # the trap itself works


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
        == start + "If these are features, say so by kind=features, or --kind features."
    )
    assert refusal("file(path=x.npy, kind=matrices)") == start + "Symmetrise it."
    assert made("file(path=x.npy, kind=features)").master.shape == (3, 4, 4)


def test_matrices_must_be_square() -> None:
    np.save("x.npy", A[:, :, :3])
    assert refusal("file(path=x.npy, kind=matrices)") == (
        "x.npy has the shape (3, 4, 3), which are no square matrices."
    )


def in_bits(a: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(a).to(dtype)


@pytest.mark.parametrize(
    ("dtype", "within", "beyond"),
    [
        (torch.float64, 1e-6, 4e-6), (torch.float32, 1e-6, 4e-6),
        (torch.float16, 2e-3, 8e-3), (torch.bfloat16, 1.6e-2, 6e-2),
    ],
)  # fmt: skip
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
    stored = torch.from_numpy(A).to(torch.bfloat16)
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
        (A > 0, "x.npy is bool, which are no numbers."),
        (np.array([["a", "b"]]), "x.npy is str32, which are no numbers."),
        (np.ones(4), "x.npy has the shape (4,): matrices are (b, n, n) or (n, n), features are "
         "(b, n, M), or (N, n) with samples as rows; none may be empty."),
        (np.ones((0, 4, 4)), "x.npy has the shape (0, 4, 4): matrices are (b, n, n) or (n, n), "
         "features are (b, n, M), or (N, n) with samples as rows; none may be empty."),
        (np.ones((2, 4, 1)), "x.npy has one sample: a covariance needs two."),
        (np.ones((1, 4)), "x.npy has one sample: a covariance needs two."),
    ],
)  # fmt: skip
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
        (A * [[[1]], [[0]], [[1]]],
         "x.npz[cotangent]: the symmetric part of cotangent 1 is zero."),
    ],
)  # fmt: skip
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


# Batches and sizes


def test_a_batch_is_a_prefix_and_a_larger_one_starts_again() -> None:
    g = RNG.normal(size=A.shape)
    text = problems.canonical(saved("x.npz", matrices=A, cotangent=g))
    whole, small, large = (made(text, batch=b) for b in (3, 2, 7))
    np.testing.assert_array_equal(small.master, whole.master[:2])
    np.testing.assert_array_equal(large.master, whole.master[[0, 1, 2, 0, 1, 2, 0]])
    np.testing.assert_array_equal(large.cotangent, whole.cotangent[[0, 1, 2, 0, 1, 2, 0]])
    for batches, said in (([3], False), ([2, 7], True)):
        words = problems.describe(text, batches) or ""
        assert words.endswith("a batch of 7 takes them again from the first after 3") is said


def test_another_size_is_refused_with_a_reason() -> None:
    np.save("x.npy", A)
    text = problems.canonical("file(path=x.npy)")
    assert problems.check_size(text, 4) is None
    assert problems.check_size(text, 5) == "x.npy holds matrices of size 4 only"
    with pytest.raises(Unsupported, match="holds matrices of size 4 only"):
        made(text, size=5)


def test_modifiers_follow_a_file_as_any_problem() -> None:
    np.save("x.npy", A)
    np.testing.assert_array_equal(made("file(path=x.npy)|scale(0.5)").master, A / 2)


def test_the_master_is_read_only_and_so_is_what_is_kept() -> None:
    np.save("x.npy", A)
    with pytest.raises(ValueError, match="read-only"):
        made("file(path=x.npy)").master[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        files.load("x.npy", "", "auto", "").matrices[0, 0, 0] = 1


# Digests and paths


def test_two_files_under_one_path_are_two_problems() -> None:
    np.save("x.npy", A)
    before = problems.canonical("file(path=x.npy)")
    made(before)
    np.save("x.npy", 2 * A)  # at once, and of the same size
    after = problems.canonical("file(path=x.npy)")
    assert before != after
    np.testing.assert_array_equal(made(after).master, 2 * A)

    problems._make.cache_clear()
    reason = problems.check_size(before, 4)
    then, now = (text.rpartition("digest=")[2].rstrip(")") for text in (before, after))
    assert reason == (
        f"x.npy has changed: its digest is {now}, not {then}. Without a digest, its matrices of "
        "now are measured"
    )
    with pytest.raises(Unsupported, match="has changed"):
        made(before)
    assert problems.canonical(before) == before


def test_a_settled_file_is_hashed_once_and_a_young_one_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = []
    read = files._bytes
    monkeypatch.setattr(files, "_bytes", lambda path: reads.append(path) or read(path))
    np.save("x.npy", A)
    files.digest_of("x.npy")
    files.digest_of("x.npy")
    assert len(reads) == 2
    os.utime("x.npy", (1e9, 1e9))
    first = files.digest_of("x.npy")
    assert files.digest_of("x.npy") == first
    assert len(reads) == 3
    np.save("x.npy", A[:2])
    os.utime("x.npy", (1e9, 1e9))
    assert files.digest_of("x.npy") != first


def test_what_is_parsed_is_what_has_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is replaced between hashing and reading is refused."""
    np.save("x.npy", A)
    monkeypatch.setattr(files, "digest_of", lambda path: "0" * 16)
    with pytest.raises(Unsupported, match="has changed"):
        files.load("x.npy", "", "auto", "0" * 16)


def test_a_cell_whose_file_is_gone_keeps_its_name_and_says_so(folder: Path) -> None:
    np.save("x.npy", A)
    text = problems.canonical("file(path=x.npy)")
    Path("x.npy").unlink()
    assert problems.canonical(text) == text
    assert problems.check_size(text, 4) == f"there is no file 'x.npy' in {folder}"
    assert refusal("file(path=x.npy)") == f"there is no file 'x.npy' in {folder}."
    assert problems.describe(text, [1]) == f"there is no file 'x.npy' in {folder}."


def test_a_folder_is_no_file() -> None:
    Path("x.npy").mkdir()
    assert refusal("file(path=x.npy)") == "x.npy: cannot be read: Is a directory."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file", "problem 'file' needs a path: file(path=cov.npy)."),
        ("file(path=)", "problem 'file' needs a path: file(path=cov.npy)."),
        ("file(path=x.npy, digest=12)", "problem 'file': digest = '12' is not 16 hex digits."),
        ("file(path=a%0Ab.npy)",
         "problem 'file': path = 'a\\nb.npy' has characters that cannot be shown."),
        ("file(path=%FF.npy)",
         "problem 'file': path = '\ufffd.npy' has characters that cannot be shown."),
        ("file(path=x.npy, kind=matrix)",
         "Unknown kind of file 'matrix'. Did you mean 'matrices'? "
         "Known: auto, features, matrices."),
    ],
)  # fmt: skip
def test_a_bad_text_says_what_is_wrong(text: str, words: str) -> None:
    assert refusal(text) == words


NAMES = [
    "my cov.npy", "a,b.npy", "cov (1).npy", "a=b.npy", "50%.npy", "it's.npy", 'a"b.npy', "a|b.npy",
    " x .npy", "größe.npy", "%28.npy",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_path_can_be_spelled(name: str) -> None:
    np.save(name, A)
    text, size, count = files.problem_of(name)
    assert (size, count) == (4, 3)
    assert problems.canonical(text) == text
    assert problems.parse(text)[0].given["path"] == name
    np.testing.assert_array_equal(made(text).master, A)


@given(st.text(max_size=20))
def test_a_quoted_text_reads_back_as_itself(text: str) -> None:
    if "\ud800" <= max(text, default="") <= "\udfff":
        return
    call = problems.parse(f"file(path={quoted(text)}, digest=0)")[0]
    assert call.given["path"] == text


def test_one_file_has_one_spelling() -> None:
    np.save("x.npy", A)
    text = problems.canonical("file(path=x.npy)")
    digest = text.rpartition("digest=")[2].rstrip(")")
    for other in ("file(x.npy)", "file(path=./x.npy)", "file('x.npy')", "file(x.npy,kind=matrices)",
                  f"file(digest={digest}, path=x.npy)"):  # fmt: skip
        assert problems.canonical(other) == text


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


def test_other_problems_have_nothing_to_say() -> None:
    assert problems.describe("wishart", [4]) is None


def test_reading_a_text_imports_no_library() -> None:
    import subprocess
    import sys

    np.save("x.npy", A)
    code = (
        "import sys; from mssbench import problems; problems.canonical('file(path=x.npy)')\n"
        "print([m for m in ('torch', 'scipy', 'h5py', 'safetensors') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_readers_take_bytes_and_leave_no_file_open() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, a=A)
    name, stored, beside = file_formats.read("x.npz", buffer.getvalue(), "")
    assert (name, stored.dtype, beside) == ("a", "float64", None)
