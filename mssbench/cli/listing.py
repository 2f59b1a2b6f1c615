"""`mssbench list`: methods, problems and suites, the papers they cite, and what cannot run here."""

import re
from collections.abc import Collection, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from mssbench import arrays, problems
from mssbench.cli.options import Also, Json
from mssbench.cli.output import output, output_json
from mssbench.console import lists
from mssbench.console.terminal import waiting
from mssbench.errors import NotInstalled, RegistryError, Unavailable, unknown
from mssbench.machine import devices
from mssbench.methods import registry
from mssbench.methods.method import Method
from mssbench.registries import load_file
from mssbench.suite import suite
from mssbench.suite.schema import schema
from mssbench.suite.shipped import of_runs

KINDS = ("backends", "backwards", "problems", "suites")
SUITE_SCHEMA = "suite-schema"  # one document, where the others are lists of records
_HOW_TO_USE_IT = (
    f"`mssbench list {SUITE_SCHEMA} --json > suite.schema.json` writes the JSON Schema of suite "
    "files, and with the first line `#:schema ./suite.schema.json` in a suite, editors that use "
    "Taplo, such as VS Code with Even Better TOML, complete its keys and names and mark mistakes."
)

EXAMPLES = (
    "mssbench list problems --also my_problems.py",
    "mssbench list suite-schema --json",
)


def command(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="What to list: backends (methods for the root, with their libraries), backwards "
            "(methods for the gradient), problems or suites. suite-schema explains how an editor "
            "checks suite files, and with --json prints the JSON Schema for that.",
        ),
    ],
    also: Also = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """List methods, problems or suites, with their parameters and the sources that they cite."""
    if what == SUITE_SCHEMA:
        for file in also:
            load_file(file)
        if as_json:
            output_json(f"list {what}", schema())
        else:
            output([Text(_HOW_TO_USE_IT)])
        return
    with waiting(f"looking for {what}"):
        records = listing(what, also)
    if as_json:
        output_json(f"list {what}", {"rows": records})
    else:
        output(table(what, records))


def listing(what: str, also: Sequence[Path]) -> list[dict[str, Any]]:
    """Return a record of each entry of a list. Raises RegistryError for an unknown list.

    what: a name of KINDS. also: Python files of the user's, which are loaded first.
    """
    if what not in KINDS:
        raise RegistryError(unknown("list", what, (*KINDS, SUITE_SCHEMA)))
    for file in also:
        load_file(file)

    of_kind = {
        "backends": _backends,
        "backwards": _backwards,
        "problems": _problems,
        "suites": _suites,
    }
    return list(of_kind[what]())


def table(what: str, records: Sequence[dict[str, Any]]) -> list[RenderableType]:
    """Return the records of `listing` as tables; a method of several libraries is listed once."""
    if what == "backends":
        records = _by_method(records)
    return [(lists.listing if what == "suites" else lists.entries)(what, records)]


def _by_method(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    methods: dict[str, dict[str, Any]] = {}
    for record in records:
        name = record["backend"].rpartition("/")[2]
        known = {k: v for k, v in record.items() if k not in ("backend", "here", "precisions")}
        method = methods.setdefault(name, {"backward": name, **known})
        able = record["here"].startswith(("cpu", "cuda"))
        precisions = f" ({', '.join(record['precisions'])})" if able else ""
        method[record["backend"]] = record["here"] + precisions
    return [m | {"cite": m.pop("cite")} for m in methods.values()]


def _backends() -> Iterator[dict[str, Any]]:
    failed = registry.REGISTRIES["forward"].load_plugins()
    for method in registry.known("forward").values():
        for library in method.libraries:
            yield {
                "backend": f"{library}/{method.name}",
                "summary": method.summary,
                "functions": [*method.functions, *method.other_functions],
                "precisions": [p for p in method.precisions if p in arrays.PRECISIONS[library]],
                "parameters": [p.describe() for p in method.parameters.values()],
                "inexact": method.inexact,
                "at singular A": method.at_singular,
                "sizes": list(method.sizes),
                "here": registry.missing(method) or _here(library, method.devices),
                "cite": method.cite,
            }
    for name, reason in failed.items():
        yield {"backend": name, "summary": "A plugin that fails.", "here": reason, "cite": ""}


def _backwards() -> Iterator[dict[str, Any]]:
    failed = registry.REGISTRIES["backward"].load_plugins()
    for method in registry.known("backward").values():
        yield {
            "backward": method.name,
            "summary": method.summary,
            "libraries": list(method.libraries),
            "precisions": list(method.precisions),
            "parameters": [f"backward_{p.describe()}" for p in method.parameters.values()],
            "inexact": method.inexact,
            "at singular A": method.at_singular,
            "pairs_with": _partners(method),
            "cite": method.cite,
        }
    for name, reason in failed.items():
        yield {"backward": name, "summary": "A plugin that fails.", "here": reason, "cite": ""}


def _partners(backward: Method) -> str:
    """Return the names of the forwards that a backward works with; empty if with every one."""
    if not backward.only:
        return ""
    forwards = registry.known("forward").values()
    return ", ".join(f.name for f in forwards if set(backward.fields) <= set(f.fields))


def _problems() -> Iterator[dict[str, Any]]:
    prefixes = {"problem": "", "modifier": "PROBLEM|"}
    for kind, generators in problems.REGISTRIES.items():
        failed = generators.load_plugins()
        for generator in generators.known().values():
            yield {
                "problem": prefixes[kind] + generator.name,
                "summary": generator.summary,
                "parameters": [p.describe() for p in generator.parameters.values()],
                "sizes": generator.sizes,
                "here": _missing(generator.package),
                "cite": generator.cite,
            }
        for name, reason in failed.items():
            yield {
                "problem": prefixes[kind] + name,
                "summary": "A plugin that fails.",
                "here": reason,
                "cite": "",
            }


def _suites() -> Iterator[dict[str, Any]]:
    auto = devices.default_device()
    for name, path in of_runs().items():
        loaded = suite.load(path, auto=auto)
        yield {"suite": name, "cells": len(loaded.cells), "description": loaded.description}


def _here(library: str, allowed: Collection[str] = ()) -> str:
    """Return the devices that a library can use here: `cpu, cuda`; if none, the first reason.

    allowed: the devices that the method runs on; empty: all.
    """
    able, reasons = [], []
    for device in arrays.DEVICES[library]:
        if allowed and device not in allowed:
            continue
        try:
            devices.check_library(library, device)
            able.append(device)
        except (NotInstalled, Unavailable) as error:
            reasons.append(str(error))
    return ", ".join(able) or reasons[0]


def _missing(extra: str | None) -> str:
    """Return `yes` if an optional group of packages is installed, else how to install it.

    extra: the name of the group, such as `data`; None if none is needed.
    """
    lacking = [name for name in _packages(extra) if not _installed(name)] if extra else []
    if not lacking:
        return "yes"
    return f"needs {', '.join(lacking)}: pip install 'mssbench[{extra}]'"


def _packages(extra: str | None) -> list[str]:
    """Return the packages of an optional group, from the metadata of the installed mssbench."""
    marker = re.compile(rf"([\w.-]+).*; extra == ['\"]{extra}['\"]")
    lines = metadata.requires("mssbench") or []
    return [match[1] for line in lines if (match := marker.fullmatch(line))]


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
