"""Say what GPU and libraries are here, or what .ci/gpu lacks and what to do; then exit with 2."""

import importlib
import sys
from importlib.util import find_spec

NEEDED = {
    "torch": "install its build for CUDA",
    "cupy": "pip install cupy-cuda13x, or cupy-cuda12x for a driver of CUDA 12",
    **dict.fromkeys(
        ("numpy", "triton", "pytest", "typer", "rich", "psutil", "threadpoolctl", "pandas",
         "pyarrow"), "pip install it, or carry it: the head of .ci/gpu says how"),
}  # fmt: skip


def lacking() -> list[str]:
    """A sentence for each thing that is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    found = [f"No {name}: {NEEDED[name]}." for name in missing]
    if "torch" not in missing:
        found += _of_torch()
    if "cupy" not in missing:
        found += _of_cupy()
    return found


def _of_torch() -> list[str]:
    torch = importlib.import_module("torch")
    if torch.version.cuda is None:
        return [f"torch {torch.__version__} is built without CUDA: install its build for CUDA."]
    try:
        torch.ones(1, device="cuda")
    except Exception as error:  # whatever it is, it is what is to be said
        return [
            f"torch cannot use a GPU ({_first_line(error)}): `nvidia-smi` must show one, and a "
            f"driver for CUDA {torch.version.cuda}."
        ]
    return []


def _of_cupy() -> list[str]:
    cupy = importlib.import_module("cupy")
    try:
        cupy.ones(1).sum().item()  # finds its compiler, too
    except Exception as error:
        return [f"CuPy cannot use a GPU ({_first_line(error)}): {NEEDED['cupy']}."]
    return []


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")


def facts() -> str:
    """What another machine would differ in."""
    torch, cupy = importlib.import_module("torch"), importlib.import_module("cupy")
    triton = importlib.import_module("triton")
    environment = importlib.import_module("mssbench.environment")
    found = environment.describe()
    names = ", ".join(f"{gpu['name']} ({gpu['multiprocessors']} SMs)" for gpu in found["gpus"])
    return "\n".join([
        f"{names}, driver {found['driver']}",
        f"torch {torch.__version__}, cupy {cupy.__version__}, triton {triton.__version__}, "
        f"CUDA {torch.version.cuda}, python {found['python']}",
        f"environment {environment.identify(found)}",
    ])  # fmt: skip


if __name__ == "__main__":
    if sentences := lacking():
        print("nothing can run here:", *sentences, sep="\n  ", file=sys.stderr)
        sys.exit(2)
    print(facts())
