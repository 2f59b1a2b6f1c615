"""Arrays out of files: .npy, .npz, .pt, .safetensors, .mat, .csv and .h5.

Nothing is unpickled. A file that holds pickled objects is refused, as unpickling runs whatever
code the file names.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mssbench.errors import NotInstalled, RegistryError, unknown

COTANGENT = "cotangent"  # the array of this name is the cotangents, not the matrices
# What is taken without a key where a file has several arrays: what `mssbench.capture` writes.
_PREFERRED = ("matrices", "features")


class Stored(NamedTuple):
    """One array of a file."""

    values: NDArray[Any]
    dtype: str  # as the file has it: "bfloat16", which NumPy has not


# Name to array. An array is read when it is asked for, as a file may hold many. The only array of
# a format without names has the name "".
Arrays: TypeAlias = dict[str, Callable[[], Stored]]


@contextmanager
def _blaming(path: str) -> Iterator[None]:
    """Turn whatever a reader raises into one line that names the file."""
    try:
        yield
    except (RegistryError, MemoryError):
        raise
    except NotInstalled as error:
        raise NotInstalled(f"{path}: {error}") from error
    except Exception as error:  # each library has errors of its own
        line = str(error).strip().partition("\n")[0] or type(error).__name__
        # NumPy and torch tell how to load a pickle all the same, which nobody should.
        if "pickl" in f"{type(error).__name__} {line}":
            line = "it is damaged, or holds pickled objects, which are never loaded."
        raise RegistryError(f"{path}: cannot be read: {line}") from None


def read(path: str, data: bytes, key: str) -> tuple[str, Stored, Stored | None]:
    """The name of the chosen array, the array, and the cotangents that come along, if any do.

    path: whose ending says the format, and which errors name. key: empty for the only array, or
    for `matrices` or `features` where there are several.
    Raises RegistryError with what is wrong, NotInstalled where a package is missing.
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
    """The name of the array that is meant. Raises RegistryError naming those that there are."""
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
    """The arrays of a mapping from names, each read when it is asked for."""

    def one(name: str) -> Callable[[], Stored]:
        return lambda: _plain(values[name])

    return {name: one(name) for name in values}


def _plain(values: Any) -> Stored:
    array = np.asarray(values)
    return Stored(array, array.dtype.name)


def _npy(data: bytes) -> Arrays:
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("it is an .npz file: give it that ending")
    return {"": lambda: _plain(array)}


def _npz(data: bytes) -> Arrays:
    archive = np.load(io.BytesIO(data), allow_pickle=False)
    if isinstance(archive, np.ndarray):
        raise ValueError("it is an .npy file: give it that ending")
    return _lazily(archive)


def _csv(data: bytes) -> Arrays:
    """Numbers that commas separate; the first line may be a header."""
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
    """A tensor, or a dictionary of tensors, whose keys a dot joins where they are nested."""
    import torch

    content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    found = dict(_tensors("", content))

    def one(name: str) -> Callable[[], Stored]:
        return lambda: _of_tensor(found[name])

    return {name: one(name) for name in found}


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
        tensor = tensor.to(torch.float32)  # which holds every value of the narrower types
    return Stored(tensor.resolve_conj().numpy(), dtype)


# The names that safetensors has for what NumPy can hold, and NumPy's. BF16 is read on its bits.
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
    if dtype == "bfloat16":  # the upper half of a float32
        halves = np.frombuffer(view["data"], dtype="<u2").astype(np.uint32)
        values: NDArray[Any] = (halves << np.uint32(16)).view(np.float32)
    else:
        values = np.frombuffer(view["data"], dtype=np.dtype(dtype).newbyteorder("<"))
    return Stored(values.reshape(view["shape"]), dtype)


def _mat(data: bytes) -> Arrays:
    """MATLAB's arrays. (n, n, b), as `pagemtimes` takes them, is read as (b, n, n)."""
    if data.startswith(b"MATLAB 7.3"):  # HDF5, which has the axes of MATLAB's arrays reversed
        values = {name: np.asarray(each).T for name, each in _datasets(data).items()}
    else:
        import scipy.io

        values = {
            name: each
            for name, each in scipy.io.loadmat(io.BytesIO(data)).items()
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
    """Every dataset of an HDF5 file by its path: `group/name`."""
    try:
        import h5py
    except ImportError as error:
        raise _missing("h5py", error) from error
    found: dict[str, Any] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    h5py.File(io.BytesIO(data), "r").visititems(note)
    return found


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
