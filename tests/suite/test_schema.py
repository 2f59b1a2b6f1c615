"""The JSON Schema of suites: it accepts every suite there is, and refuses what it can express."""

import json
import tomllib

import jsonschema
import pytest
from analysis import test_claims
from helpers.root import ROOT
from helpers.tables import called
from suite import test_suite

from mssbench.methods import registry
from mssbench.suite import schema as schemas
from mssbench.suite import suite

SUITES = sorted((ROOT / "suites").glob("*.toml"))
SUITES += [path.parent / "suite.toml" for path in sorted((ROOT / "results").rglob("table.csv"))]
# What `suite.load` refuses and a schema cannot: it follows from several values, or from what a
# number is. JSON has no NaN and no infinity.
INEXPRESSIBLE = {
    "endless range",
    "still range",
    "empty range",
    "huge range",
    "huge product",
    "measure nan",
    "measure inf",
    "everything excluded",
}
# Of claims, what depends on the rows that the suite would have, and the contents of conditions.
INEXPRESSIBLE_CLAIMS = {
    "factor inf",
    "factor nan",
    "published lengths",
    "published size",
    "no expression",
    "code",
    "column",
    "measured column",
    "method",
    "method that is not",
    "method not in a list",
    "method in a list",
    "method of other suites",
    "pair",
    "phase",
    "clock",
    "device",
    "precision",
    "problem",
    "problem's spelling",
    "seed",
    "size",
    "no shared point",
}


@pytest.fixture(scope="module")
def validator():
    return jsonschema.Draft202012Validator(schemas.schema())


def mistakes(validator, text):
    return [error.message for error in validator.iter_errors(tomllib.loads(text))]


def test_it_is_a_schema_of_its_draft(validator):
    found = schemas.schema()
    validator.check_schema(found)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("path", SUITES, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_accepts_every_suite(path, validator):
    assert mistakes(validator, path.read_text()) == []


GOOD = {
    "the designed one": test_suite.DESIGNED,
    "ranges": test_suite.size('["8:32:+8", 100, "8:32:8", "3:20:*3"]'),
    "one size for each method": """
name = "x"
[axes]
[[method]]
forward = "numpy/eigh"
size = 4
batch = 1
""",
    "a name in another script": test_suite.GOOD.replace("mine", "größe-3.b_1"),
    "modifiers and blanks": test_suite.GOOD
    + 'problem = " wishart( 2 ) | scale(factor=1e-6)|scale (1e6)"\n',
    "steps that a method chooses": test_suite.method(
        'forward = "torch/newton_schulz"\niterations = ["auto", 5, "1:3:+1"]\nridge = [0, 1e-4]'
    ),
    "a whole number for a number": test_suite.method('forward = "torch/minimax"\nlower = 1'),
    "a range of a parameter with few values": test_suite.method(
        'forward = "torch/minimax"\ndegree = "3:5:+2"'
    ),
    "a parameter of one of two methods": test_suite.method(
        'forward = ["torch/eigh", "torch/newton_schulz"]\nnorm = "trace"'
    ),
    "every key of [measure]": test_suite.GOOD
    + "[measure]\n"
    + "".join(f"{key} = {value}\n" for key, value in suite.MEASURE.items()),
    "limits": test_suite.GOOD
    + '[check]\nfail_on = ["torch/newton*:operators:10%", "seconds : .5x", "root_error:3 x"]\n',
    "exclusions": test_suite.GOOD
    + '[[exclude]]\nsize = 4\noptions = ""\niterations = "auto"\nbackend = ["numpy/eigh"]\n',
    "a claim": test_claims.tables(test_claims.PAIR, test_claims.FIGURE),
}


@pytest.mark.parametrize("case", GOOD)
def test_it_accepts_what_a_suite_may_say(case, validator, tmp_path):
    path = tmp_path / "good.toml"
    path.write_text(GOOD[case])
    if case != "limits":  # of 0.5x nothing could be said
        suite.load(path, auto="cpu")
    assert mistakes(validator, GOOD[case]) == []


def test_it_refuses_what_load_refuses_where_it_can(validator):
    cases = {name: text for name, (text, _) in test_suite.REFUSED.items() if name != "not toml"}
    accepted = {name for name, text in cases.items() if not mistakes(validator, text)}
    assert accepted == INEXPRESSIBLE
    assert len(cases) > 5 * len(accepted)


def test_it_refuses_the_claims_that_load_refuses_where_it_can(validator):
    cases = {
        name: test_claims.tables(test_claims.PAIR, body)
        for name, (body, _) in test_claims.REFUSED.items()
    }
    accepted = {name for name, text in cases.items() if not mistakes(validator, text)}
    assert accepted == INEXPRESSIBLE_CLAIMS


WRONG_VALUES = {
    "of the other method": ('forward = "torch/svd"\ndriver = "trace"', "driver"),
    "for a method that takes no such": ('forward = "torch/eigh"\nnorm = "trace"', "forward"),
    "in a list": ('forward = "torch/newton_schulz"\nnorm = ["trace", 3]', "norm"),
    "of its kind, but not of this method": ('forward = "torch/fused_triton"\ndegree = 9', "degree"),
    "that others choose": ('forward = "torch/power_iteration"\niterations = "auto"', "iterations"),
    "of rtol": ('forward = "torch/eigh"\nrtol = 1.0', "rtol"),
}


@pytest.mark.parametrize("case", WRONG_VALUES)
def test_a_mistake_is_told_at_its_key(case, validator):
    body, key = WRONG_VALUES[case]
    document = tomllib.loads(test_suite.method(body))
    assert {e.path[-1] for e in validator.iter_errors(document) if len(e.path) > 2} == {key}


def test_every_key_has_a_description(validator):
    tables = schemas.schema()["properties"]
    for name, table in tables.items():
        assert table["description"], name
        inner = table.get("items", table).get("properties", {})
        assert all("description" in v for v in inner.values()) or name == "exclude", name
    assert tables["measure"]["properties"].keys() == suite.MEASURE.keys()


def test_an_editor_is_offered_what_is_registered(validator):
    found = schemas.schema()["$defs"]
    assert "torch/newton_schulz" in found["backend"]["enum"]
    assert set(registry.known("backward")) < {*found["backward"]["enum"]}
    assert "wishart" in found["problem"]["anyOf"][0]["enum"]


def test_the_command_prints_it_and_says_how_to_use_it(capsys):
    code, text, _ = called(capsys, "list", "suite-schema", "--json")
    assert code == 0
    printed = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(printed)
    assert {k: v for k, v in printed.items() if k not in ("schema", "command")} == schemas.schema()

    code, text, _ = called(capsys, "list", "suite-schema")
    assert code == 0
    assert "#:schema ./suite.schema.json" in " ".join(text.split())


def test_methods_of_ones_own_are_in_it(tmp_path, capsys):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from mssbench.methods.registry import Root, register_forward\n\n"
        "@register_forward(cite='me', products=lambda **_: 1.0, libraries=['numpy'])\n"
        "def mine_of_the_schema(a, *, depth: int = 3):\n"
        '    """A root of my own."""\n'
        "    return Root(a, a)\n"
    )
    with registry.temporarily():
        _, text, _ = called(capsys, "list", "suite-schema", "--json", "--also", mine)
        found = json.loads(text)
    assert "numpy/mine_of_the_schema" in found["$defs"]["backend"]["enum"]
    assert "depth" in found["properties"]["method"]["items"]["properties"]
