"""Readers for arrays in files: .npy, .npz, .pt, .safetensors, .mat, .csv and .h5.

Nothing is unpickled: a file with pickled objects is refused, because unpickling can run arbitrary
code.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mssbench.errors import NotInstalled, RegistryError, unknown

COTANGENT = "cotangent"  # the name of the array that holds cotangents rather than matrices
# The arrays to use if a file has several and no key is given; `mssbench.capture` writes these.
_PREFERRED = ("matrices", "features")


class Stored(NamedTuple):
    """One array of a file."""

    values: NDArray[Any]
    dtype: str  # the dtype in the file, such as "bfloat16", which NumPy does not have


# Maps names to functions that read an array, because a file may hold many. In formats without names
# the only array has the name "".
Arrays: TypeAlias = dict[str, Callable[[], Stored]]


@contextmanager
def _blaming(path: str) -> Iterator[None]:
    """Convert exceptions of a reader into RegistryError, with one line that names the file.

    NotInstalled, for a missing package, and MemoryError keep their types.
    """
    try:
        yield
    except (RegistryError, MemoryError):
        raise
    except NotInstalled as error:
        raise NotInstalled(f"{path}: {error}") from error
    except Exception as error:  # each library has its own exceptions
        line = str(error).strip().partition("\n")[0] or type(error).__name__
        # The messages of NumPy and torch explain how to load pickles, which is unsafe advice here.
        if "pickl" in f"{type(error).__name__} {line}":
            line = "it is damaged, or holds pickled objects, which are never loaded."
        raise RegistryError(f"{path}: cannot be read: {line}") from None


def read(path: str, data: bytes, key: str) -> tuple[str, Stored, Stored | None]:
    """Return the name of the chosen array, the array, and the cotangents in the file, if any.

    path: its ending determines the format, and errors name it. data: the contents. key: the name of
    the array; empty for the only one, or for `matrices` or `features` if there are several.
    Raises RegistryError, with the reason, for a file that cannot be read or has no such array, and
    NotInstalled if a package is missing.
    """
    ending = Path(path).suffix.lower()
    if ending not in READERS:
        raise RegistryError(f"{path}: {unknown('ending', ending, READERS)}")

    with _blaming(path):
        arrays = READERS[ending](data)
        name = _chosen(path, arrays, key)
        cotangent = arrays[COTANGENT]() if COTANGENT in arrays and name != COTANGENT else None
        return name, arrays[name](), cotangent


def _chosen(path: str, arrays: Arrays, key: str) -> str:
    """Return the name of the array to read from a file.

    arrays: those of the file. key: the name that the user has given; if it is empty, the name is
    that of the only array, or else `matrices`, or else `features`. An array called `cotangent`
    counts only if `key` names it.

    Raises RegistryError if there is no array, or none of the name `key`, or if the key is empty and
    none of several arrays has one of these two names. The message lists the arrays.
    """
    names = [name for name in arrays if name != COTANGENT]
    if not names:
        raise RegistryError(f"{path} holds no array.")

    if key and names == [""]:
        raise RegistryError(f"{path} holds one array, which has no name: leave out key={key}.")
    if key and key not in arrays:
        raise RegistryError(unknown(f"array of {path}", key, names))
    if key:
        return key

    if len(names) == 1:
        return names[0]
    for name in _PREFERRED:
        if name in names:
            return name

    listed = ", ".join(sorted(names))
    raise RegistryError(
        f"{path} holds {len(names)} arrays: {listed}. Choose one by key=NAME, or --key NAME."
    )


def _lazily(values: Mapping[str, Any]) -> Arrays:
    """Return functions that read the arrays of a mapping, which may load them lazily itself."""

    def one(name: str) -> Callable[[], Stored]:
        return lambda: _plain(values[name])

    return {name: one(name) for name in values}


def _plain(values: Any) -> Stored:
    array = np.asarray(values)
    return Stored(array, array.dtype.name)


def _npy(data: bytes) -> Arrays:
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("it is an .npz file: rename it with that ending")
    return {"": lambda: _plain(array)}


def _npz(data: bytes) -> Arrays:
    archive = np.load(io.BytesIO(data), allow_pickle=False)
    if isinstance(archive, np.ndarray):
        raise ValueError("it is an .npy file: rename it with that ending")
    return _lazily(archive)


def _csv(data: bytes) -> Arrays:
    """Read numbers separated by commas; the first line may be a header."""
    lines = data.decode("utf-8-sig").splitlines()
    if lines and not all(map(_is_number, lines[0].split(","))):
        lines = lines[1:]
    if not any(line.strip() for line in lines):
        raise ValueError("it has no line of numbers")
    array = np.loadtxt(lines, delimiter=",", ndmin=2, comments=None)
    return {"": lambda: _plain(array)}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _pt(data: bytes) -> Arrays:
    """Read a tensor, or a dictionary of tensors; the keys of nested ones are joined by dots."""
    import torch

    content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    tensors = dict(_tensors("", content))

    def one(name: str) -> Callable[[], Stored]:
        return lambda: _of_tensor(tensors[name])

    return {name: one(name) for name in tensors}


def _tensors(name: str, content: Any) -> Iterator[tuple[str, Any]]:
    import torch

    if isinstance(content, torch.Tensor):
        yield name, content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _tensors(f"{name}.{key}" if name else str(key), value)


def _of_tensor(tensor: Any) -> Stored:
    import torch

    dtype = str(tensor.dtype).removeprefix("torch.")
    tensor = tensor.detach().to_dense() if tensor.is_sparse else tensor.detach()
    if tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.to(torch.float32)  # exact, as float32 has all values of narrower types
    return Stored(tensor.resolve_conj().numpy(), dtype)


# Names of dtypes in safetensors -> in NumPy. BF16, which NumPy does not have, is read by its bits.
_SAFE = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "C64": "complex64",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}


def _safetensors(data: bytes) -> Arrays:
    try:
        import safetensors
    except ImportError as error:
        raise _missing("safetensors", error) from error

    def one(view: Mapping[str, Any]) -> Callable[[], Stored]:
        return lambda: _of_view(view)

    return {name: one(view) for name, view in safetensors.deserialize(data)}


def _of_view(view: Mapping[str, Any]) -> Stored:
    if view["dtype"] not in _SAFE:
        raise ValueError(unknown("type", view["dtype"], _SAFE))

    dtype = _SAFE[view["dtype"]]
    if dtype == "bfloat16":  # its bits are the upper half of a float32
        halves = np.frombuffer(view["data"], dtype="<u2").astype(np.uint32)
        values: NDArray[Any] = (halves << np.uint32(16)).view(np.float32)
    else:
        values = np.frombuffer(view["data"], dtype=np.dtype(dtype).newbyteorder("<"))
    return Stored(values.reshape(view["shape"]), dtype)


def _mat(data: bytes) -> Arrays:
    """Read MATLAB arrays; (n, n, b), the layout of `pagemtimes`, is read as (b, n, n)."""
    if data.startswith(b"MATLAB 7.3"):  # an HDF5 file, with the axes in reverse order
        values = {name: np.asarray(dataset).T for name, dataset in _datasets(data).items()}
    else:
        import scipy.io

        values = {
            name: array
            for name, array in scipy.io.loadmat(io.BytesIO(data)).items()
            if not name.startswith("__")
        }
    return _lazily({name: _pages_first(value) for name, value in values.items()})


def _pages_first(values: Any) -> Any:
    shape: tuple[int, ...] = getattr(values, "shape", ())
    last = len(shape) == 3 and shape[0] == shape[1] != shape[2]
    return np.moveaxis(values, 2, 0) if last else values


def _h5(data: bytes) -> Arrays:
    return _lazily(_datasets(data))


def _datasets(data: bytes) -> dict[str, Any]:
    """Return the datasets of an HDF5 file by their paths, `group/name`."""
    try:
        import h5py
    except ImportError as error:
        raise _missing("h5py", error) from error
    datasets: dict[str, Any] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            datasets[name] = item

    h5py.File(io.BytesIO(data), "r").visititems(note)
    return datasets


def _missing(package: str, error: ImportError) -> NotInstalled:
    return NotInstalled(f"reading it needs {package}: pip install 'mssbench[files]' ({error})")


READERS: dict[str, Callable[[bytes], Arrays]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".pt": _pt,
    ".pth": _pt,
    ".safetensors": _safetensors,
    ".mat": _mat,
    ".csv": _csv,
    ".h5": _h5,
    ".hdf5": _h5,
}
