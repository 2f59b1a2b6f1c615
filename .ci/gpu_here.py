"""Say what GPU and libraries are here, or what .ci/gpu lacks and what to do; then exit with 2.

With `--has MODULE` only whether Python has that module: exit status 0 or 1.
"""

import importlib
import sys
from importlib.util import find_spec

NEEDED = {
    "torch": "install its build for CUDA",
    **dict.fromkeys(
        ("numpy", "typer", "rich", "psutil", "threadpoolctl", "tomli_w", "pandas", "pyarrow"),
        "pip install it, or carry it: the head of .ci/gpu says how",
    ),
}
# Without these some steps are left out, and others have rows that say why they are not measured.
USED = {
    "cupy": "no kernel of this project is launched; pip install cupy-cuda13x, or cupy-cuda12x for "
    "a driver of CUDA 12",
    "triton": "its kernel is not measured",
    "pytest": "no test is run",
}


def lacking() -> list[str]:
    """A sentence for each thing without which nothing can run."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    found = [f"No {name}: {NEEDED[name]}." for name in missing]
    if "torch" not in missing:
        found += _of_torch()
    return found


def going_without() -> list[str]:
    """A sentence for each thing that is used where it is there, and is not."""
    missing = [name for name in USED if find_spec(name) is None]
    found = [f"No {name}: {USED[name]}." for name in missing]
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
        return [f"CuPy cannot use a GPU ({_first_line(error)}): {USED['cupy']}."]
    return []


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")


def facts() -> str:
    """What another machine would differ in."""
    torch = importlib.import_module("torch")
    environment = importlib.import_module("mssbench.machine.facts")
    found = environment.describe()
    names = ", ".join(f"{gpu['name']} ({gpu['multiprocessors']} SMs)" for gpu in found["gpus"])
    versions = {name: found["versions"][name] or "none" for name in ("torch", "cupy", "triton")}
    return "\n".join(
        [
            f"{names}, driver {found['driver']}",
            ", ".join(f"{name} {version}" for name, version in versions.items())
            + f", CUDA {torch.version.cuda}, python {found['python']}",
            f"environment {environment.identify(found)}",
        ]
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--has"]:
        sys.exit(find_spec(sys.argv[2]) is None)
    if sentences := lacking():
        print("nothing can run here:", *sentences, sep="\n  ", file=sys.stderr)
        sys.exit(2)
    if sentences := going_without():
        print("some steps are left out:", *sentences, sep="\n  ", file=sys.stderr)
    print(facts())
