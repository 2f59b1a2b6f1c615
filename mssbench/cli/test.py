"""`mssbench test`: check the methods of a file against the contract of every method."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import RenderableType
from rich.text import Text

from mssbench import arrays
from mssbench.cli.options import Json
from mssbench.cli.output import output, output_json
from mssbench.console import lists
from mssbench.errors import ExitCode, RegistryError, Unsupported
from mssbench.methods import registry
from mssbench.methods.method import Function, Method
from mssbench.registries import load_file
from mssbench.suite.suite import scalar

_REMEDY = (
    "A method without `inexact=` must be exact: give it enough steps with --set, or declare with "
    "`inexact=` in its registration what it computes."
)


class Checked(NamedTuple):
    """The test of one property (contract) of a method; `failure` is empty if the property holds."""

    method: str
    library: str
    function: str
    contract: str
    failure: str


EXAMPLES = ("mssbench test my_root.py --set iterations=60",)


def command(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Python file that registers the methods to test."),
    ],
    set_: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Value of a parameter of the methods, e.g. iterations=60. Repeatable.",
        ),
    ] = [],  # noqa: B006
    precision: Annotated[
        str, typer.Option(help="Precision of the matrices to test with: float64 or float32.")
    ] = "float64",
    as_json: Json = False,
) -> None:
    """Test the methods of a file: shapes, types, batches, exact roots and gradients.

    Exit code: 0 all properties hold, 1 some do not, 2 the file cannot be read or has no method.
    """
    results = list(checked(methods_in(file), parameters(set_), precision))
    if not results:
        raise RegistryError(
            f"no property of {file} could be tested: its methods take no arrays on a CPU, or "
            "compute no root that their default partners support."
        )
    if as_json:
        output_json("test", {"rows": [c._asdict() for c in results]})
    else:
        output(report(file, results))

    raise typer.Exit(ExitCode.FAILED if any(c.failure for c in results) else ExitCode.PASS)


def methods_in(file: Path) -> list[Method]:
    """Return the methods that a file registers. The file may be one of mssbench itself.

    Raises RegistryError if there is no such file, or if it registers no method.
    """
    if not file.is_file():
        raise RegistryError(f"there is no file {file}. `mssbench new {file}` writes one.")
    if built_in := _built_in(file):
        return built_in

    before = {kind: set(registry.known(kind)) for kind in registry.REGISTRIES}
    load_file(file)
    registered = [
        method
        for kind in registry.REGISTRIES
        for name, method in registry.known(kind).items()
        if name not in before[kind]
    ]

    if not registered:
        raise RegistryError(
            f"{file} registers no method. `mssbench new FILE.py` writes a file that does."
        )
    return registered


def _built_in(file: Path) -> list[Method]:
    """Return the methods that are built in and defined in a file; none for a file of the user's.

    Such a file is not imported a second time, because each name can be registered only once.
    """
    folder = Path(registry.__file__).resolve().parent
    if not file.resolve().is_relative_to(folder):
        return []

    parts = file.resolve().relative_to(folder).with_suffix("").parts
    module = ".".join((registry.__package__, *parts))
    known = (method for kind in registry.REGISTRIES for method in registry.known(kind).values())
    return [method for method in known if method.call.__module__ == module]


def parameters(texts: Sequence[str]) -> dict[str, Any]:
    """Return the parameters by name. texts: the values of --set.

    Raises RegistryError for a text that is not of the form NAME=VALUE.
    """
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise RegistryError(f"--set {text}: write NAME=VALUE, for example iterations=60.")
        values[name.strip()] = scalar(value.strip())
    return values


def checked(
    methods: Sequence[Method], given: Mapping[str, Any], precision: str
) -> Iterator[Checked]:
    """Test every property of each method on a CPU, and yield the outcomes.

    Each function (sqrt, isqrt) and each library of a method is tested. given: parameters by name.
    """
    for method in methods:
        for library in (name for name in method.libraries if "cpu" in arrays.DEVICES[name]):
            for function in method.functions:
                yield from _of_pair(method, library, function, given, precision)


def _of_pair(
    method: Method, library: str, function: Function, parameters: Mapping[str, Any], precision: str
) -> Iterator[Checked]:
    """Yield the outcome of each property of one method, tested with its default partner.

    The partner is the backward that a forward is paired with, or the other way round.
    """
    from mssbench import testing  # imports torch, which --help must not wait for

    names = {method.kind: method.name}
    try:
        contracts = testing.contracts(
            **names, function=function, library=library, precision=precision, **parameters
        )
    except Unsupported:  # this pair does not compute this function
        return

    for contract in contracts:
        failure = ""
        try:
            contract()
        except AssertionError as error:
            failure = str(error).partition("\n")[0] or "does not hold"
        except Exception as error:  # a method may raise anything
            failure = f"{type(error).__name__}: {error}".partition("\n")[0]
        yield Checked(method.name, library, function, testing.name(contract), failure)


def report(file: Path, found: Sequence[Checked]) -> Iterator[RenderableType]:
    """Yield a table of the properties that do not hold, and the number of those that do."""
    broken = [c for c in found if c.failure]

    if broken:
        yield lists.listing(
            "does not hold",
            [
                {
                    "method": c.method,
                    "library": c.library,
                    "function": c.function,
                    "property": c.contract.replace("_", " "),
                    "why": c.failure,
                }
                for c in broken
            ],
        )

    names = ", ".join(dict.fromkeys(c.method for c in found))
    passed = len(found) - len(broken)
    yield Text(
        f"{file}: {passed} of {len(found)} properties of {names} hold.",
        style="bold red" if broken else "bold green",
    )

    if any("exact" in c.contract or "scaled" in c.contract for c in broken):
        yield Text(_REMEDY)
