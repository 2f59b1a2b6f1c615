"""`mssbench new`: write a file with a working example method, to be changed into your own."""

import keyword
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from mssbench.cli.output import output
from mssbench.errors import RegistryError, RunError
from mssbench.methods import registry
from mssbench.results.files import replace

_METHOD = '''"""A root of symmetric positive definite matrices: {name}."""

from mssbench import Root, normalized, register_forward
from mssbench.arrays import eye_like


@register_forward(
    cite="N. J. Higham, Functions of Matrices, SIAM 2008",  # your source, with a year
    products=lambda iterations: 4.0 * iterations,  # the cost, in products of n x n matrices
    yields=("sqrt", "isqrt"),  # the fields of the Root below; ("sqrt",) is enough
)
def {name}(a, *, iterations: int = 12) -> Root:
    """The coupled Newton-Schulz iteration, as an example: replace it by your method.

    a: (..., n, n), symmetric positive definite; an array of numpy, cupy or torch. Parameters stand
    after the star and have a default, so that a suite may sweep them.
    """
    x, scale = normalized(a, "frobenius")  # eigenvalues in (0, 1]; a's root is scale times x's
    eye = eye_like(a)
    y, z = x, eye + 0 * x
    for _ in range(iterations):
        step = (3 * eye - z @ y) / 2
        y, z = y @ step, step @ z
    return Root(sqrt=y * scale, isqrt=z / scale)
'''

EXAMPLES = ("mssbench new my_root.py",)


def command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="The Python file to write, e.g. my_root.py; must not exist."
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the method in the file.", show_default="the name of the file without .py"
        ),
    ] = None,
) -> None:
    """Write a Python file with a working example of a method, for you to change."""
    chosen = name or file.stem
    check(file, chosen)

    replace(file, _METHOD.format(name=chosen).encode())
    output(
        [
            Text(
                f"{file} has a working method {chosen!r}. Change it, and test it after each change:"
            ),
            Text(f"    mssbench test {file}", style="bold", no_wrap=True, overflow="ignore"),
            Text("docs/plugins.md says how to measure it beside others, and how to package it."),
        ]
    )


def check(file: Path, name: str) -> None:
    """Raise RunError if the file cannot be written, or RegistryError for a bad name of a method."""
    if file.suffix != ".py":
        raise RunError(f"{file} is no Python file: choose {file.with_suffix('.py')}.")
    if file.exists():
        raise RunError(f"{file} exists already and was not changed. Choose another name.")
    if not file.parent.is_dir():
        raise RunError(f"there is no folder {file.parent}.")

    if not name.isidentifier() or keyword.iskeyword(name):
        raise RegistryError(
            f"{name!r} cannot be the name of a Python function: name the method with --name NAME."
        )
    if name in registry.known("forward"):
        raise RegistryError(f"mssbench has a method {name!r} already: give another with --name.")
