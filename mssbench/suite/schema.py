"""The JSON Schema of a suite file, from which editors complete keys and names, and mark mistakes.

What a schema cannot say is checked only by `suite.load`, for instance that a range ends, or that
[[exclude]] leaves a cell.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from typing import Any

from mssbench import arrays, problems
from mssbench.methods import method as method_
from mssbench.methods import registry
from mssbench.methods.method import Method, MethodKind, Parameter
from mssbench.records.cell import APPLIED, CELL_KEY, OTHER_FUNCTIONS
from mssbench.suite import claims, thresholds
from mssbench.suite.expand import DEFAULTS
from mssbench.suite.suite import MEASURE

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
# A letter or a digit of any script, then also - and `.`: the patterns of JSON Schema are those of
# JavaScript, whose \w has no letters but ASCII's, so that what is no word is listed instead.
_NAME = r"^[^\s!-/:-@\[-^`{-~][^\s!-,/:-@\[-^`{-~]*$"
_RANGE: Schema = {
    "type": "string",
    "pattern": r"^[0-9]+:[0-9]+:[*+]?[0-9]+$",
    "description": 'A range: "16:64:*2" is 16, 32, 64, and "8:32:+8" is 8, 16, 24, 32.',
}
_TEXT: Schema = {"type": "string", "pattern": r"\S"}
_POSITIVE: Schema = {"type": "number", "exclusiveMinimum": 0}
_TERM = r"\s*({names})\s*(\([^()]*\))?\s*"  # of a problem's text, see problems/text.py

_OF_SUITE = {
    "name": "A word for the suite. Its runs go to results/NAME.",
    "description": "A sentence on what it measures, which `mssbench list suites` prints.",
    "axes": "The values that every method is measured at. A [[method]] may have its own.",
    "method": "Methods, and their parameters. Every combination of the values is measured.",
    "exclude": "Cells that are left out: those that have, for every key, one of its values.",
    "measure": "How long each cell is sampled, and which error is still called ok.",
    "check": "Limits of `mssbench check` on how much errors, counts and times may grow.",
    "claim": "Published sentences that `mssbench claims` decides from the rows of a run.",
}
_OF_AXES = {
    "function": "What is computed of each matrix.",
    "problem": "A generator of matrices with its parameters, such as logspec(condition=1e6).",
    "size": "n of the (batch, n, n) matrices.",
    "batch": "How many matrices a call has.",
    "precision": "The precision of the matrices; tf32 is float32 with rounded products.",
    "device": "cpu, cuda, or auto for the GPU where there is one.",
    "seed": "The seed of the matrices.",
}
_OF_MEASURE = {
    "min_seconds": "Seconds of timed calls that a cell takes at least, in all passes together.",
    "min_samples": "Samples that a cell takes at least, in all passes together.",
    "max_seconds": "Seconds after which sampling ends, whatever the minima say.",
    "max_samples": "Samples after which sampling ends.",
    "interval": "Half of the 95 % interval of the median, relative to it, that is narrow enough.",
    "warmup_seconds": "Seconds of calls before the first sample.",
    "block_seconds": "Seconds that one sample lasts at least; short calls are repeated for it.",
    "passes": "How often all cells are measured, in random order.",
    "timeout_seconds": "Seconds after which a method that does not return is stopped.",
    "max_error": "Relative error above which a row is called inaccurate.",
    "minutes": "Minutes after which a run ends; 0 is no limit.",
}
_OF_CLAIMS = {
    "claim": "The claim, as a sentence.",
    "source": "The publication that makes the claim.",
    "value": "The column that is compared.",
    "left": "A condition that selects the rows of the left side.",
    "relation": "How the left side compares with the right one.",
    "right": "A condition that selects the rows of the right side, or a number.",
    "factor": "By how much the smaller side has to be smaller.",
    "over": "Whether the claim has to hold in every comparison, or for the median of their ratios.",
    "at_error": "The largest error with which a row counts.",
    "accept": "Statuses of rows that count although their result is wrong.",
    "apart": "Columns in which the two sides differ on purpose.",
    "where": "A condition that selects the rows of published figures.",
    "published": "Columns, and the figures that were published for their values.",
    "within": "The relative distance from the published figure that is allowed.",
}


def schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of suite files, with the methods registered now.

    Plug-ins are imported for it. One whose import fails stays in the lists, with every library and
    without parameters.
    """
    forwards, backwards = _methods("forward"), _methods("backward")
    return {
        "$schema": _DIALECT,
        "title": "A suite of mssbench",
        **_table(
            {
                "name": {"type": "string", "pattern": _NAME},
                "description": {"type": "string"},
                "axes": _table(_axes(), _OF_AXES),
                "method": {"type": "array", "items": _method(forwards, backwards), "minItems": 1},
                "exclude": {"type": "array", "items": _exclude(forwards, backwards)},
                "measure": _measure(),
                "check": _check(),
                "claim": {"type": "array", "items": _claim()},
            },
            _OF_SUITE,
            required=["name", "axes", "method"],
        ),
        # [axes] has size and batch, or every method has them
        "allOf": [_given_somewhere(axis) for axis in ("size", "batch")],
        "$defs": {
            "backend": {"enum": _backends(forwards)},
            "forward": {"enum": sorted(forwards)},
            "backward": {"enum": ["none", *sorted(backwards)]},
            "problem": _problem(),
            "range": _RANGE,
        },
    }


def _table(
    properties: Mapping[str, Schema],
    descriptions: Mapping[str, str],
    *,
    required: Collection[str] = (),
) -> Schema:
    """Return the schema of a TOML table with these keys and no others, each with a description."""
    described = {
        key: value | ({"description": descriptions[key]} if key in descriptions else {})
        for key, value in properties.items()
    }
    found: Schema = {"type": "object", "properties": described, "additionalProperties": False}
    return found | ({"required": [*required]} if required else {})


def _one_or_many(value: Schema, least: int = 1) -> Schema:
    """Return the schema of one value, or of a list of at least `least` such values."""
    return {"anyOf": [value, {"type": "array", "items": value, "minItems": least}]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _methods(kind: MethodKind) -> dict[str, Method | None]:
    """Return every method of a kind, forward or backward, by name; None for a broken plug-in."""
    failed = registry.REGISTRIES[kind].load_plugins()
    return {**dict.fromkeys(failed), **registry.known(kind)}


def _backends(forwards: Mapping[str, Method | None]) -> list[str]:
    return sorted(
        f"{library}/{name}"
        for name, method in forwards.items()
        for library in (arrays.LIBRARIES if method is None else method.libraries)
    )


def _problem() -> Schema:
    """Return the schema of a problem: a generator, then modifiers, all with or without parameters.

    For example `wishart(ratio=2)`, then `|` and a modifier.
    """
    base, modifiers = (
        _TERM.format(names="|".join(problems.REGISTRIES[kind].names()))
        for kind in ("problem", "modifier")
    )
    names = problems.REGISTRIES["problem"].names()
    return {
        "anyOf": [
            {"enum": names},  # what an editor offers
            {"type": "string", "pattern": rf"^{base}(\|{modifiers})*$"},
        ]
    }


def _whole(least: int) -> Schema:
    return {"anyOf": [{"type": "integer", "minimum": least}, _ref("range")]}


def _axes() -> dict[str, Schema]:
    functions = (*method_.FUNCTIONS, APPLIED, *OTHER_FUNCTIONS)
    values: dict[str, Schema] = {
        "function": {"enum": [*functions]},
        "problem": _ref("problem"),
        "size": _whole(1),
        "batch": _whole(1),
        "precision": {"enum": [*arrays.STORAGE]},
        "device": {"enum": ["auto", "cpu", "cuda"]},
        "seed": _whole(0),
    }
    return {
        axis: _one_or_many(value) | ({"default": DEFAULTS[axis]} if axis in DEFAULTS else {})
        for axis, value in values.items()
    }


def _given_somewhere(axis: str) -> Schema:
    return {
        "anyOf": [
            {"properties": {"axes": {"required": [axis]}}},
            {"properties": {"method": {"items": {"required": [axis]}}}},
        ]
    }


def _value(parameter: Parameter) -> Schema:
    """Return the schema of what a parameter may be: a value for Method.check, or a range."""
    of_types: dict[type, Schema] = {
        bool: {"type": "boolean"},
        int: {"type": "integer", "minimum": 0},
        float: {"type": "number"},
        str: {"type": "string"},
    }
    value = {"enum": [*parameter.choices]} if parameter.choices else of_types[parameter.type]
    others: list[Schema] = [{"enum": [*parameter.words]}] if parameter.words else []
    if parameter.type in (int, float):
        others.append(_ref("range"))
    return {"anyOf": [value, *others]} if others else value


def _takers(methods: Mapping[str, Method | None], prefix: str) -> dict[str, dict[str, Parameter]]:
    """Return parameter -> method -> what this method takes for it, for every parameter.

    prefix: `backward_` for backwards, as suites write it before their parameters.
    """
    found: dict[str, dict[str, Parameter]] = {}
    for name, method in methods.items():
        for parameter in method.parameters.values() if method else ():
            found.setdefault(prefix + parameter.name, {})[name] = parameter
    return found


def _any_of(values: Iterable[Schema]) -> Schema:
    """Return the schema of a value that fits one of these schemas; equal ones are merged."""
    different: list[Schema] = []
    for value in values:
        if value not in different:
            different.append(value)
    return different[0] if len(different) == 1 else {"anyOf": different}


def _regularizations() -> dict[str, Schema]:
    return {
        "ridge": {"anyOf": [{"type": "number", "minimum": 0}, _ref("range")]},
        "rtol": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
    }


_OF_REGULARIZATIONS = {
    "ridge": "The root of A + ridge (tr A / n) I is taken. Every method takes it.",
    "rtol": "Eigenvalues up to rtol times the largest one count as zeros.",
}


def _method(
    forwards: Mapping[str, Method | None], backwards: Mapping[str, Method | None]
) -> Schema:
    """Return the schema of a [[method]] table.

    A parameter may stand there only if one of the table's methods takes it, with this value.
    """
    properties = {
        "forward": _one_or_many(_ref("backend")),
        "backward": _one_or_many(_ref("backward")) | {"default": "none"},
        **_axes(),
        **{key: _one_or_many(value) for key, value in _regularizations().items()},
    }
    descriptions = {
        "forward": "The backends that compute the root: library/method.",
        "backward": "What computes the gradient; none times the root alone.",
        **_OF_AXES,
        **_OF_REGULARIZATIONS,
    }
    conditions = {}
    for key, methods, prefix in (("forward", forwards, ""), ("backward", backwards, "backward_")):
        for parameter, takers in _takers(methods, prefix).items():
            properties[parameter] = _one_or_many(_any_of(map(_value, takers.values())))
            descriptions[parameter] = f"A parameter of {', '.join(sorted(takers))}."
            conditions[parameter] = _conditions(key, methods, parameter, takers)
    table = _table(properties, descriptions, required=["forward"])
    return table | {"dependentSchemas": conditions}


def _conditions(
    key: str,
    methods: Mapping[str, Method | None],
    parameter: str,
    takers: Mapping[str, Parameter],
) -> Schema:
    """Return the schema of a [[method]] table that has the parameter.

    It demands that one of the table's methods takes the parameter, and that its value fits each
    method that does. key: `forward` or `backward`. takers: the methods that take the parameter.
    """

    def names_one_of(names: Collection[str]) -> Schema:
        chosen = {name: methods[name] for name in names}
        words = {"enum": _backends(chosen) if key == "forward" else sorted(names)}
        listed = {"type": "array", "contains": words}
        return {"properties": {key: {"anyOf": [words, listed]}}, "required": [key]}

    alike: list[tuple[Schema, list[str]]] = []  # a kind of value, and the methods that take it
    for name, each in takers.items():
        value = _value(each)
        names = next((names for known, names in alike if known == value), None)
        if names is None:
            alike.append((value, [name]))
        else:
            names.append(name)
    found = names_one_of(takers)
    if len(alike) > 1:
        found["allOf"] = [
            {
                "if": names_one_of(names),
                "then": {"properties": {parameter: _one_or_many(value)}},
            }
            for value, names in alike
        ]
    return found


def _exclude(
    forwards: Mapping[str, Method | None], backwards: Mapping[str, Method | None]
) -> Schema:
    steps: Schema = {"anyOf": [{"type": "integer"}, {"const": method_.AUTO}, _ref("range")]}
    properties: dict[str, Schema] = {key: {} for key in CELL_KEY}  # such as options, any text
    for methods, prefix in ((forwards, ""), (backwards, "backward_")):
        for parameter, takers in _takers(methods, prefix).items():
            properties[parameter] = _one_or_many(_any_of(map(_value, takers.values())))
    properties |= {
        **_axes(),
        "device": _one_or_many({"enum": ["cpu", "cuda"]}),
        "library": _one_or_many({"enum": [*arrays.LIBRARIES]}),
        "backend": _one_or_many(_ref("backend")),
        "forward": _one_or_many(_ref("forward")),
        "backward": _one_or_many(_ref("backward")),
        "iterations": _one_or_many(steps),
        "backward_iterations": _one_or_many(steps),
        **{key: _one_or_many(value) for key, value in _regularizations().items()},
    }
    return _table(properties, _OF_AXES | _OF_REGULARIZATIONS) | {"minProperties": 1}


def _measure() -> Schema:
    properties: dict[str, Schema] = {
        key: (
            {"type": "integer", "minimum": 1}
            if isinstance(default, int)
            else {"type": "number", "minimum": 0}
        )
        | {"default": default}
        for key, default in MEASURE.items()
    }
    properties["timeout_seconds"] = _POSITIVE | {"default": MEASURE["timeout_seconds"]}
    return _table(properties, _OF_MEASURE)


def _check() -> Schema:
    limit = {
        "type": "string",
        "pattern": rf"^(.*:)?\s*({'|'.join(thresholds.LIMITED)})\s*:"
        r"\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*(%|x)\s*$",
    }
    described = {"fail_on": 'Limits, [METHODS:]COLUMN:LIMIT, such as "gradient_error:3x".'}
    return _table({"fail_on": _one_or_many(limit, least=0)}, described)


def _claim() -> Schema:
    """Return the schema of a [[claim]] table.

    A claim compares two selections of rows (left, right), or one (where) with published figures.
    """
    values: dict[str, Schema] = {
        **{f.name: _TEXT for f in fields(claims.Claim)},
        "value": {"enum": [*claims.VALUES]},
        "relation": {"enum": [*claims.RELATIONS]},
        "right": {"anyOf": [_TEXT, _POSITIVE]},
        "over": {"enum": [*claims.OVER]},
        "accept": _one_or_many({"enum": [*claims.ACCEPTED]}, least=0),
        "apart": _one_or_many({"enum": [*claims.POINT]}, least=0),
        "published": _table(
            dict.fromkeys(claims.POINT, _one_or_many({})) | {"figure": _one_or_many(_POSITIVE)},
            {"figure": "The figures that were published, one for each value of the columns."},
            required=["figure"],
        ),
        **dict.fromkeys(("factor", "at_error", "within"), _POSITIVE),
    }
    sides = ("left", "relation", "right", "factor", "at_error", "apart")
    return _table(values, _OF_CLAIMS, required=["claim", "source", "value"]) | {
        "if": {"required": ["where"]},
        "then": {
            "required": ["published", "within"],
            "properties": dict.fromkeys(sides, False),
        },
        "else": {
            "required": ["left", "relation", "right"],
            "properties": {"within": False},
        },
        # an error is not read at an error
        "not": {
            "required": ["at_error"],
            "properties": {"value": {"enum": [*claims.ERRORS]}},
        },
    }
