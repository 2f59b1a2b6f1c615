"""Every format is read, and nothing is unpickled."""

import io
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.own_files import RNG, A, covariances, made, refusal

from mssbench import problems
from mssbench.errors import NotInstalled
from mssbench.problems import file_formats


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in a folder of its own, which relative paths start at."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Formats. Each writer takes the matrices and the arrays that lie beside them.


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(path, **arrays)


def write_pt(path: Path, arrays: dict[str, np.ndarray]) -> None:
    torch.save({name: torch.tensor(each) for name, each in arrays.items()}, path)


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
    "npz": write_npz,
    "pt": write_pt,
    "pth": write_pt,
    "safetensors": write_safetensors,
    "mat": write_mat,
    "h5": write_h5,
    "hdf5": write_h5,
}
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


def test_a_byte_order_mark_takes_no_row_of_a_csv_without_a_header() -> None:
    Path("x.csv").write_text("\ufeff1,0\n0,2\n", encoding="utf-8")
    np.testing.assert_array_equal(made("file(path=x.csv)", 2, 1).master[0], np.diag([1.0, 2.0]))


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


def write_matlab_7_3(path: Path, cov: np.ndarray) -> None:
    """As MATLAB does: HDF5 behind a header of 512 bytes, with the axes of the array reversed."""
    h5py = pytest.importorskip("h5py", reason="h5py is in mssbench[files] and [test]")
    with h5py.File(path, "w", userblock_size=512) as file:
        file["cov"] = cov.T
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512))


def test_matlab_7_3_is_hdf5_with_its_axes_reversed(folder: Path) -> None:
    write_matlab_7_3(folder / "x.mat", np.moveaxis(A, 0, 2))
    np.testing.assert_array_equal(made("file(path=x.mat)").master, A)
    x = RNG.normal(size=(3, 4, 9))
    write_matlab_7_3(folder / "x.mat", x)
    expected = np.stack([np.cov(each, bias=True) for each in x])
    np.testing.assert_allclose(made("file(path=x.mat)").master, expected, atol=1e-14)


def test_a_tensor_alone_and_nested_dictionaries_are_read() -> None:
    torch.save(torch.tensor(A).requires_grad_(), "x.pt")
    np.testing.assert_array_equal(made("file(path=x.pt)").master, A)
    torch.save({"state": {"cov": torch.tensor(A), "step": 3}}, "y.pt")
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
    monkeypatch.setitem(sys.modules, package, None)
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


def test_readers_take_bytes_and_leave_no_file_open() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, a=A)
    name, stored, beside = file_formats.read("x.npz", buffer.getvalue(), "")
    assert (name, stored.dtype, beside) == ("a", "float64", None)
