"""The parts of pages that come from the registries, the schema of tables and that of suites."""

import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mssbench
from mssbench import arrays, problems
from mssbench.cli import notebook
from mssbench.methods import registry
from mssbench.methods.method import AUTO, Method, MethodKind, Parameter
from mssbench.records.schema import SCHEMA
from mssbench.suite import schema, shipped, suite

ROOT = Path(__file__).resolve().parent.parent.parent
_LINE = 118  # characters of a line of a page
_GROUPS = {
    "key": "What was measured. Rows with the same key are measurements of the same thing.",
    "outcome": "How the measurement ended.",
    "time": "Times of the calls.",
    "work": "The work of one call, and how close its time is to what the machine allows.",
    "memory": "Memory of one call.",
    "error": "How wrong the result is. [Accuracy](accuracy.md) explains these columns.",
    "identity": "What tells rows and machines apart.",
}
_KINDS = {"str": "text", "int": "whole numbers", "float": "numbers", "bool": "True or False"}
_YIELDS = {
    "sqrt": "the root",
    "isqrt": "the inverse root",
    "eigen": "eigenvalues and eigenvectors",
    "iterates": "the results of its steps",
    "differential": "the divided differences of its function",
}


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def code(x: object) -> str:
    """Return a value as code, for a cell of a table. A bar in it would end the cell."""
    return f"<code>{x}</code>".replace("|", "&#124;") if "|" in str(x) else f"`{x}`"


def codes(values: Iterable[object], between: str = ", ") -> str:
    """Return several values as code."""
    return between.join(map(code, values))


def methods(kind: MethodKind) -> list[Method]:
    """Return the methods that come with mssbench, those of other libraries included."""
    registry.REGISTRIES[kind].load_plugins()
    every = registry.known(kind).values()
    return [method for method in every if method.call.__module__.startswith("mssbench.")]


def _is_peer(method: Method) -> bool:
    return method.call.__module__.startswith("mssbench.methods.plugins.")


def _link(method: Method) -> str:
    return f"[`{method.name}`](#{method.name})"


def forwards() -> str:
    """Return one line for each forward."""
    return table(
        ["forward", "what it is", "computes", "in half precision", "exact"],
        (
            (
                _link(method),
                _cell(method.summary.removesuffix(".")),
                codes([*method.functions, *method.other_functions]),
                "yes" if "float16" in method.precisions else "no",
                "no" if method.inexact else "yes",
            )
            for method in methods("forward")
        ),
    )


def backwards() -> str:
    """Return one line for each backward."""
    return table(
        ["backward", "what it is", "in half precision", "exact"],
        (
            (
                _link(method),
                _cell(method.summary.removesuffix(".")),
                "yes" if "float16" in method.precisions else "no",
                "no" if method.inexact else "yes",
            )
            for method in methods("backward")
        ),
    )


def each_forward() -> str:
    """Return a section for each forward."""
    return "\n\n".join(_section(m, _of_forward(m)) for m in methods("forward"))


def each_backward() -> str:
    """Return a section for each backward."""
    return "\n\n".join(_section(m, _of_backward(m)) for m in methods("backward"))


def _section(method: Method, properties: Iterator[tuple[str, str]]) -> str:
    text = inspect.getdoc(method.call) or ""
    rest = text.partition("\n")[2].strip()
    parts = [f"### {method.name}", _cell(method.summary), table(["property", "value"], properties)]
    if rest:
        parts.append(
            f"<details><summary>Formulas and arguments of {method.name}</summary>\n\n"
            f"```text\n{rest}\n```\n\n</details>"
        )
    return "\n\n".join(parts)


def _of_forward(method: Method) -> Iterator[tuple[str, str]]:
    yield "source", _cell(method.cite)
    yield "computes", codes([*method.functions, *method.other_functions])
    if method.fields:
        yield "yields", ", ".join(f"{_YIELDS[f]} ({code(f)})" for f in method.fields)
    yield from _common(method)
    if method.sizes:
        yield "sizes n", ", ".join(map(str, method.sizes))
    if method.opaque:
        yield "autograd", "cannot differentiate it: it needs a backward other than `autodiff`"


def _of_backward(method: Method) -> Iterator[tuple[str, str]]:
    yield "source", _cell(method.cite)
    if method.recorded:
        yield "reads", "nothing: autograd records the operations of the forward"
    elif method.only:
        partners = [m for m in methods("forward") if set(method.fields) <= set(m.fields)]
        yield "needs", ", ".join(f"{_YIELDS[f]} ({code(f)})" for f in method.fields)
        yield "pairs with", codes(m.name for m in partners)
    elif method.fields:
        wanted = ", ".join(f"{_YIELDS[f]} ({code(f)})" for f in method.fields)
        yield "reads", f"{wanted} if the forward yields them, else the roots"
    else:
        yield "reads", "the roots"
    yield "second derivatives", "yes" if method.solves or method.recorded else "no"
    yield from _common(method, "backward_")


def _common(method: Method, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield what is said of forwards and backwards alike. prefix: of the names of parameters."""
    if method.parameters:
        yield "parameters", "<br>".join(_parameter(p, prefix) for p in method.parameters.values())
    yield "libraries", codes(method.libraries)
    if method.devices:
        yield "devices", codes(method.devices)
    yield "precisions", codes(method.precisions)
    yield "cost", _cost(method)
    if method.package:
        yield "needs the package", code(method.package.partition(".")[0])
    for library, precision in method.computes:
        yield f"with {library}", f"its decompositions and solves are computed in {precision}"
    if method.inexact:
        yield "not exact", _cell(method.inexact)
    if method.at_singular:
        yield "at singular A", _cell(method.at_singular)


def _parameter(parameter: Parameter, prefix: str) -> str:
    text = code(f"{prefix}{parameter.name} = {parameter.default}")
    if parameter.choices:
        text += f", one of {codes(parameter.choices)}"
    if AUTO in parameter.words:
        text += f"; the default of `sqrtm` is `{AUTO}`"
    return text


def _cost(method: Method) -> str:
    cost = method.cost(method.complete({}))
    least = "no product" if cost == 0 else f"{cost:.3g} products of n × n matrices"
    return f"about {least} a call with these parameters" if method.parameters else f"about {least}"


def columns() -> str:
    """Return a section for each group of columns of the result table."""
    parts = []
    for group, meaning in _GROUPS.items():
        rows = [
            (
                code(c.name),
                _cell(c.meaning),
                {"s": "seconds", "B": "bytes"}.get(c.unit, _KINDS[c.kind]),
            )
            for c in SCHEMA
            if c.group == group
        ]
        parts += [f"### {group.capitalize()}", meaning]
        parts.append(table(["column", "meaning", "values"], rows))
    assert {c.group for c in SCHEMA} == {*_GROUPS}
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    """Return a text of the code for a cell of a table, where bars and asterisks have a meaning."""
    return text.replace("|", "\\|").replace("*", "\\*")


def suite_keys() -> str:
    """Return the keys at the top of a suite."""
    keys = schema.schema()["properties"]
    return _keys(keys, {"name", "axes", "method"})


def axes() -> str:
    """Return the axes with their defaults and values."""
    keys = schema.schema()["properties"]["axes"]["properties"]
    return _keys(keys, {"size", "batch"})


def of_methods() -> str:
    """Return the keys of a [[method]] table that are not axes."""
    keys = schema.schema()["properties"]["method"]["items"]["properties"]
    known = schema.schema()["properties"]["axes"]["properties"]
    wanted = ("forward", "backward", "ridge", "rtol")
    parameters = sorted({*keys} - {*known, *wanted})
    rows = _keys({name: keys[name] for name in wanted}, {"forward"})
    others = f"The other keys are the parameters of the methods: {codes(parameters)}."
    return f"{rows}\n\n{textwrap.fill(others, _LINE)}"


def measure() -> str:
    """Return the keys of the table [measure], with their defaults and those of --effort."""
    described = schema.schema()["properties"]["measure"]["properties"]
    heads = ["key", "meaning", "default", *map(code, suite.EFFORTS)]
    return table(
        heads,
        (
            (
                code(key),
                described[key].get("description", ""),
                code(default),
                *(code(e[key]) if key in e else "" for e in suite.EFFORTS.values()),
            )
            for key, default in suite.MEASURE.items()
        ),
    )


def of_claims() -> str:
    """Return the keys of a [[claim]] table."""
    found = schema.schema()["properties"]["claim"]["items"]
    return _keys(found["properties"], {*found["required"]})


def of_check() -> str:
    """Return the keys of the table [check]."""
    return _keys(schema.schema()["properties"]["check"]["properties"], set())


def _keys(keys: Mapping[str, Any], required: set[str]) -> str:
    """Return a table of the keys of a table of a suite. required: those that have no default."""
    return table(
        ["key", "default", "meaning"],
        (
            (
                code(key),
                "required" if key in required else _default(of_key),
                _cell(of_key.get("description", "")),
            )
            for key, of_key in keys.items()
        ),
    )


def _default(of_key: Mapping[str, Any]) -> str:
    return code(of_key["default"]) if "default" in of_key else ""


def suites() -> str:
    """Return one line for each suite that comes with mssbench."""
    rows = []
    for name, path in shipped.of_runs().items():
        loaded = suite.load(path, auto="cpu")
        rows.append((code(name), str(len(loaded.cells)), loaded.description))
    return table(["suite", "cells", "measures"], rows)


def quick() -> str:
    """Return the file of the suite quick."""
    return f"```toml\n{(ROOT / 'suites' / 'quick.toml').read_text('utf-8').strip()}\n```"


def problems_() -> str:
    """Return one line for each generator of matrices, then for each modifier."""
    parts = []
    for kind, generators in problems.REGISTRIES.items():
        known = [
            g for g in generators.known().values() if g.call.__module__.startswith("mssbench.")
        ]
        rows = [
            (
                code(g.name),
                codes((p.describe().replace("|", ", ") for p in g.parameters.values()), "<br>"),
                g.sizes,
                _cell(g.summary.removesuffix(".")),
                _cell(g.cite),
            )
            for g in known
        ]
        parts.append(table([kind, "parameters", "sizes", "what it is", "source"], rows))
    return "\n\n".join(parts)


def precisions() -> str:
    """Return which precisions each library has."""
    return table(
        ["library", "devices", "precisions"],
        (
            (code(library), codes(arrays.DEVICES[library]), codes(arrays.PRECISIONS[library]))
            for library in arrays.LIBRARIES
        ),
    )


def api() -> str:
    """Return the call and the docstring of each public name."""
    parts = []
    for name in sorted(set(mssbench.__all__) - {"__version__"}):
        found = notebook.run if name == "run" else getattr(mssbench, name)
        signature = inspect.signature(found)
        plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        call = f"{name}{signature.replace(parameters=plain, return_annotation=signature.empty)}"
        parts.append(f"### {name}\n\n```text\n{call}\n\n{inspect.getdoc(found)}\n```")
    return "\n\n".join(parts)


PARTS: Mapping[str, Callable[[], str]] = {
    "forwards": forwards,
    "backwards": backwards,
    "each-forward": each_forward,
    "each-backward": each_backward,
    "columns": columns,
    "suite-keys": suite_keys,
    "axes": axes,
    "method-keys": of_methods,
    "measure": measure,
    "claim-keys": of_claims,
    "check-keys": of_check,
    "suites": suites,
    "quick": quick,
    "problems": problems_,
    "precisions": precisions,
    "api": api,
}
