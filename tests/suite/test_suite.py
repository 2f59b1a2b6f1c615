"""Suites: what they expand to, how they are overridden, and every way they are refused."""

import math
import tomllib
from itertools import pairwise

import pytest
from helpers.root import ROOT
from helpers.tables import CELL, called
from hypothesis import given, settings
from hypothesis import strategies as st

from mssbench.errors import SuiteError
from mssbench.methods import registry
from mssbench.methods.regularization import OPTIONS
from mssbench.records.cell import CELL_KEY, Cell
from mssbench.records.policy import Policy
from mssbench.results.rows import read_suite
from mssbench.suite import expand, shipped, suite
from mssbench.suite.forecast import estimate

# Suites of committed runs of `mssbench run`; those of trainings are in test_training.py.
COMMITTED = [path.parent / "suite.toml" for path in sorted((ROOT / "results").rglob("table.csv"))]
GOOD = """\
name = "mine"
[axes]
size = [4, 8]
batch = 2
[[method]]
forward = "torch/eigh"
"""
DESIGNED = """\
name = "quick"
description = "Half a minute on a laptop: every kind of method once."
[axes]
function  = ["sqrt"]
problem   = ["wishart(ratio=0.766)", "logspec(condition=1e6)", "convfeat"]
size      = [16, 64]
batch     = [32]
precision = ["float32"]
device    = "auto"
[[method]]
forward  = ["torch/eigh", "torch/svd"]
backward = ["none", "loewner", "autodiff"]
[[method]]
forward    = ["torch/newton_schulz", "cupy/newton_schulz"]
backward   = ["none", "lyapunov_newton_schulz"]
iterations = [3, 5, 7, 10]
norm       = ["trace", "frobenius"]
[measure]
min_seconds = 0.2
timeout_seconds = 60
"""


@pytest.fixture
def load(tmp_path):
    def read(text, **options):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return suite.load(path, **{"auto": "cpu", **options})

    return read


def cells(load, text=GOOD, **options):
    return load(text, **options).cells


def values(found, name):
    return sorted({getattr(c, name) for c in found}, key=str)


def test_the_designed_suite_expands_as_described(load):
    found = load(DESIGNED)
    exact, iterated = 2 * 3, 2 * 2 * 4 * 2
    assert len(found.cells) == (exact + iterated) * 3 * 2
    assert {c.device for c in found.cells if c.library == "torch"} == {"cpu"}
    assert {c.device for c in found.cells if c.library == "cupy"} == {"cuda"}
    assert {c.iterations for c in found.cells if c.forward == "eigh"} == {None}
    assert {c.iterations for c in found.cells if c.forward == "newton_schulz"} == {3, 5, 7, 10}
    assert {c.seed for c in found.cells} == {0}
    assert (found.policy.min_seconds, found.measure["timeout_seconds"]) == (0.2, 60)


def test_cells_that_share_matrices_stand_together(load):
    found = cells(load, DESIGNED)
    groups = [(c.device, c.problem, c.seed, c.size, c.precision, c.function) for c in found]
    changes = sum(a != b for a, b in pairwise(groups))
    assert changes == len(set(groups)) - 1


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("size = 5", [5]),
        ("size = [4, 4, 4]", [4]),
        ('size = "16:256:*2"', [16, 32, 64, 128, 256]),
        ('size = ["8:32:+8", 100]', [8, 16, 24, 32, 100]),
        ('size = "8:32:8"', [8, 16, 24, 32]),
        ('size = "3:20:*3"', [3, 9]),
        ('size = "7:7:*2"', [7]),
    ],
)
def test_ranges_are_spelt_out(load, text, sizes):
    assert sorted({c.size for c in cells(load, GOOD.replace("size = [4, 8]", text))}) == sizes


def test_a_suite_may_have_a_method_stop_by_itself(load):
    """The column of a number stays empty, and the options say it."""
    table = """
[[method]]
forward = "torch/newton_schulz"
backward = "lyapunov_newton_schulz"
iterations = ["auto", 5]
backward_iterations = "auto"
"""
    found = [c for c in cells(load, GOOD + table) if c.forward == "newton_schulz" and c.size == 4]
    assert [(c.iterations, c.backward_iterations) for c in found] == [(None, None), (5, None)]
    assert found[0].options == "backward_iterations=auto iterations=auto norm=frobenius"
    assert found[0].parameters["iterations"] == "auto"
    assert found[1].options == "backward_iterations=auto norm=frobenius"
    assert all(estimate(c, Policy()).seconds > 0 for c in found)
    left = cells(load, GOOD + table + '[[exclude]]\niterations = "auto"\n')
    assert [c.iterations for c in left if c.forward == "newton_schulz"] == [5, 5]


def test_a_suite_without_a_number_measures_the_methods_own(load):
    found = cells(load, GOOD + '[[method]]\nforward = "torch/newton_schulz"\n')
    default = registry.lookup("forward", "newton_schulz").parameters["iterations"].default
    assert values(found, "iterations") == [default, None]


def test_an_axis_of_a_method_replaces_the_suites(load):
    found = cells(load, GOOD + 'size = 32\n[[method]]\nforward = "torch/svd"\n')
    assert {(c.forward, c.size) for c in found} == {("eigh", 32), ("svd", 4), ("svd", 8)}


def test_what_two_tables_name_is_measured_once(load):
    assert len(cells(load, GOOD + '[[method]]\nforward = "torch/eigh"\n')) == 2


def test_a_parameter_goes_to_the_methods_that_take_it(load):
    text = GOOD.replace('"torch/eigh"', '["torch/eigh", "torch/pade"]\ndegree = [2, 3]')
    assert {c.options for c in cells(load, text) if c.forward == "eigh"} == {""}
    found = {c.parameters["degree"] for c in cells(load, text) if c.forward == "pade"}
    assert found == {2, 3}


def test_a_ridge_and_a_tolerance_are_swept_for_any_method(load):
    """A cell without them has the same identity as before there were any."""
    text = GOOD + 'backward = ["none", "loewner"]\nridge = [1e-4, 1]\nrtol = 1e-6\n'
    found = cells(load, text)
    assert values(found, "options") == ["ridge=0.0001 rtol=1e-06", "ridge=1.0 rtol=1e-06"]
    assert len(found) == 2 * 2 * 2
    assert found[0].parameters == {"ridge": 1e-4, "rtol": 1e-6}
    assert values(cells(load), "options") == [""]
    set_too = cells(load, overrides=["ridge=0.5"])
    assert values(set_too, "options") == ["ridge=0.5"]
    excluded = text + "[[exclude]]\nridge = 1\n"
    assert values(cells(load, excluded), "options") == ["ridge=0.0001 rtol=1e-06"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ridge = -1", "ridge = -1 is not a number of 0 or more"),
        ('ridge = "much"', "ridge = 'much' is not a number"),
        ("rtol = 1", "rtol = 1 is not a number from 0 to less than 1"),
        ("rtol = []", "rtol is empty"),
        ("ridges = 0.1", "Did you mean 'ridge'"),
    ],
)
def test_a_ridge_or_a_tolerance_that_is_none_is_refused(load, line, words):
    with pytest.raises(SuiteError, match=words):
        cells(load, GOOD + line + "\n")


def test_a_parameter_that_is_not_given_has_its_default(load):
    (method,) = {c for c in cells(load, GOOD.replace("eigh", "newton_schulz")) if c.size == 4}
    defaults = registry.lookup("forward", "newton_schulz").parameters
    assert method.parameters == {k: p.default for k, p in defaults.items()}


@pytest.mark.parametrize(
    ("table", "left"),
    [
        ("size = 4", {("eigh", 8), ("newton_schulz", 8)}),
        (
            'size = 4\nbackend = "torch/eigh"',
            {("eigh", 8), ("newton_schulz", 4), ("newton_schulz", 8)},
        ),
        ('forward = ["eigh"]', {("newton_schulz", 4), ("newton_schulz", 8)}),
        ("iterations = 5", {("eigh", 4), ("eigh", 8)}),
        ('norm = ["frobenius", "trace"]\nsize = "4:8:*2"', {("eigh", 4), ("eigh", 8)}),
        ("iterations = 99", {("eigh", 4), ("eigh", 8), ("newton_schulz", 4), ("newton_schulz", 8)}),
    ],
)
def test_an_exclusion_takes_the_cells_that_match_all_of_it(load, table, left):
    text = GOOD.replace('"torch/eigh"', '["torch/eigh", "torch/newton_schulz"]')
    found = cells(load, f"{text}[[exclude]]\n{table}\n")
    assert {(c.forward, c.size) for c in found} == left


@pytest.mark.parametrize(
    ("library", "listed", "auto", "found"),
    [
        ("torch", ["auto"], "cpu", ["cpu"]),
        ("torch", ["auto"], "cuda", ["cuda"]),
        ("torch", ["cpu", "cuda"], "cpu", ["cpu", "cuda"]),
        ("torch", ["auto", "cpu"], "cuda", ["cuda", "cpu"]),
        ("torch", ["auto", "cpu"], "cpu", ["cpu"]),
        ("numpy", ["auto"], "cuda", ["cpu"]),
        ("numpy", ["cpu", "cuda"], "cuda", ["cpu"]),
        ("numpy", ["cuda"], "cuda", ["cuda"]),
        ("cupy", ["auto"], "cpu", ["cuda"]),
        ("cupy", ["cpu"], "cpu", ["cpu"]),
        ("cupy", ["auto", "cpu"], "cpu", ["cuda"]),
    ],
)
def test_devices_are_the_librarys_own_under_auto_and_as_named_otherwise(
    library, listed, auto, found
):
    assert expand._devices(library, listed, auto) == found


axes = st.fixed_dictionaries(
    {
        "function": st.lists(st.sampled_from(["sqrt", "isqrt"]), min_size=1, max_size=2),
        "problem": st.lists(st.sampled_from(["identity", "logspec"]), min_size=1, max_size=2),
        "size": st.lists(st.integers(1, 99), min_size=1, max_size=2),
        "batch": st.lists(st.integers(1, 99), min_size=1, max_size=2),
        "precision": st.lists(st.sampled_from(["float32", "float64"]), min_size=1, max_size=2),
        "seed": st.lists(st.integers(0, 9), min_size=1, max_size=2),
    }
)
steps = st.lists(st.integers(0, 50), min_size=1, max_size=3)
norms = st.lists(st.sampled_from(["trace", "frobenius", "minc"]), min_size=1, max_size=2)
libraries = st.lists(st.sampled_from(["torch", "numpy"]), min_size=1, max_size=2)


@settings(max_examples=40)
@given(axes, steps, norms, libraries)
def test_expansion_is_the_product_without_duplicates(given_axes, iterations, norm, names):
    method = {
        "forward": [f"{name}/newton_schulz" for name in names],
        "iterations": iterations,
        "norm": norm,
    }
    document = {"name": "x", "axes": given_axes, "method": [method]}
    found = expand.expand(document, "cpu")
    count = math.prod(len(set(v)) for v in (*given_axes.values(), iterations, norm, names))
    assert len(found) == len(set(found)) == count == len({c.cell_id for c in found})
    assert {(c.library, c.size, c.iterations) for c in found} == {
        (name, n, k) for name in names for n in given_axes["size"] for k in iterations
    }
    again = suite.dump(document)
    assert expand.expand(tomllib.loads(again), "cpu") == found


OVERRIDES = [
    [],
    ["size=4,8"],
    ["problem=logspec(condition=1e3),identity", "seed=0:3:+1"],
    ["min_seconds=0", "batch=2:8:*2"],
]


@pytest.mark.sampled(8, slow=10)
@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        # with overrides two suites stand for all
        pytest.param(
            name,
            overrides,
            id=f"{name}-{overrides}",
            marks=pytest.mark.slow if overrides and name not in ("quick", "smoke") else [],
        )
        for name in shipped.of_runs()
        for overrides in OVERRIDES
    ],
)
def test_dump_and_load_give_the_same_cells(tmp_path, name, overrides):
    options = {"auto": "cpu", "device": "cpu"}
    first = suite.load(suite.find(name), **options, overrides=overrides, effort="smoke")
    path = tmp_path / "again.toml"
    path.write_text(suite.dump(first.document))
    again = suite.load(path, auto="cpu")
    assert again.cells == first.cells
    assert again.measure == first.measure
    assert suite.dump(again.document) == suite.dump(first.document)


@pytest.mark.sampled(10)
@pytest.mark.parametrize("auto", ["cpu", "cuda"])
@pytest.mark.parametrize("name", shipped.of_runs())
def test_every_shipped_suite_loads_under_its_own_name(name, auto):
    found = suite.load(suite.find(name), auto=auto)
    assert found.name == name
    assert found.description
    assert len({c.cell_id for c in found.cells}) == len(found.cells) > 0


# Every character that UTF-8 has: control characters, DEL and quotes among them.
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]))
scalars = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)  # NaN is equal to nothing, and no suite may contain it
    | texts
)
nested = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=12
)
tables_of_suites = st.dictionaries(texts, nested, max_size=4)


@settings(max_examples=100)
@given(texts, tables_of_suites, st.lists(tables_of_suites, max_size=3))
def test_any_document_is_written_as_toml_that_reads_back_equal(text, table, many):
    document = {"name": "x", "description": text, "axes": table, "method": many, "exclude": many}
    again = tomllib.loads(suite.dump(document))
    assert again == document
    for written, read in zip([table, *many], [again["axes"], *again["method"]], strict=True):
        plain = [key for key, value in written.items() if not has_tables(value)]
        assert [key for key in read if key in plain] == plain


def has_tables(value):
    """Whether it is a table or a list of tables, which stand after the other keys."""
    return isinstance(value, dict) or (
        isinstance(value, list) and value != [] and all(isinstance(v, dict) for v in value)
    )


@pytest.mark.parametrize("path", COMMITTED, ids=str)
def test_a_committed_suite_still_reads_and_is_written_equal(path):
    document = read_suite(path.parent)
    assert document["method"]
    assert tomllib.loads(suite.dump(document)) == document


def test_overrides_hold_for_every_table(load):
    found = load(GOOD + "size = 32\n", overrides=["size=2,3", "max_error=0.5"])
    assert values(found.cells, "size") == [2, 3]
    assert found.measure["max_error"] == 0.5


def test_an_override_of_a_parameter_reaches_only_who_takes_it(load):
    text = GOOD + '[[method]]\nforward = "torch/newton_schulz"\niterations = [1, 2]\n'
    found = cells(load, text, overrides=["iterations=7:9:+1", "norm=trace"])
    assert values(found, "iterations") == [7, 8, 9, None]
    assert values(found, "options") == ["", "norm=trace"]


def test_effort_replaces_its_keys_and_an_override_has_the_last_word(load):
    text = GOOD + "[measure]\nmin_seconds = 9\nmax_error = 0.3\n"
    for effort, wanted in suite.EFFORTS.items():
        found = load(text, effort=effort).measure
        assert found == suite.MEASURE | wanted | {"max_error": 0.3}
    assert load(text, effort="smoke", overrides=["min_samples=3"]).measure["min_samples"] == 3


def test_the_device_option_holds_for_every_cell(load):
    text = GOOD + 'device = "auto"\n[[method]]\nforward = "torch/svd"\ndevice = ["cpu", "auto"]\n'
    assert values(cells(load, text, device="cpu"), "device") == ["cpu"]


# A cell's id names its rows in every table ever written: it must not change.
IDS = [
    (CELL, "cb2cf6f9cabf0ce6"),
    (CELL | {"size": 64, "precision": "float64", "seed": 3}, "9f6ad65826315fd3"),
    (
        CELL
        | {
            "library": "cupy",
            "forward": "newton_schulz",
            "backward": "lyapunov_newton_schulz",
            "iterations": 5,
            "backward_iterations": 12,
            "options": "norm=trace",
            "device": "cuda",
            "function": "isqrt",
        },
        "f53f4fc03512de12",
    ),
]


@pytest.mark.parametrize(("fields", "name"), IDS, ids=[name for _, name in IDS])
def test_the_id_of_a_cell_never_changes(fields, name):
    assert Cell(**fields).cell_id == name


@pytest.mark.parametrize("field", CELL_KEY)
def test_every_field_of_a_cell_is_in_its_id(field):
    other = 99 if isinstance(CELL[field], int) or "iterations" in field else "other"
    assert Cell(**CELL).cell_id != Cell(**CELL | {field: other}).cell_id


def method(text):
    return GOOD.replace('forward = "torch/eigh"', text)


def size(text):
    return GOOD.replace("[4, 8]", text)


OWN = "If it is your own, name its file: --also FILE.py."
FORWARDS = f"Nearest of {len(registry.REGISTRIES['forward'].names())}: eigh, "
BACKWARDS = f"Known: {', '.join(registry.REGISTRIES['backward'].names())}. {OWN}"
EXCLUDABLE = {
    "backend",
    *CELL_KEY,
    *OPTIONS,
    *(p for m in registry.known("forward").values() for p in m.parameters),
    *(f"backward_{p}" for m in registry.known("backward").values() for p in m.parameters),
}
SHIPPED = ", ".join(sorted(shipped.of_runs()))
REFUSED = {
    "top-level key": (
        GOOD + "[mesure]\n",
        "Unknown key 'mesure'. Did you mean 'measure'? Known: axes, check, claim, description, "
        "exclude, measure, method, name.",
    ),
    "no name": (
        GOOD.replace('name = "mine"', ""),
        "no 'name'. A suite has a name, [axes], and one [[method]] or more.",
    ),
    "no axes": (
        'name = "x"\n[[method]]\nforward = "torch/eigh"\n',
        "no 'axes'. A suite has a name, [axes], and one [[method]] or more.",
    ),
    "name that is a path": (
        GOOD.replace('"mine"', '".."'),
        "name = '..' is not a word of letters, digits, _, - and .",
    ),
    "description that is a number": (
        GOOD.replace("[axes]", "description = 3\n[axes]"),
        "description = 3 is not a text.",
    ),
    "axes as a value": (
        'axes = 3\nname = "x"\n[[method]]\nforward = "torch/eigh"\n',
        "'axes' is a table: write [axes].",
    ),
    "method as a table": (
        GOOD.replace("[[method]]", "[method]"),
        "'method' is a list of tables: write [[method]].",
    ),
    "table in an axis": (
        GOOD + "[axes.seed]\na = 1\n",
        "'seed' is a table: write one value or a list of them.",
    ),
    "axis": (
        GOOD.replace("batch", "bach"),
        "[axes] Unknown axis 'bach'. Did you mean 'batch'? Known: batch, device, function, "
        "precision, problem, seed, size.",
    ),
    "missing axis": (GOOD.replace("batch = 2\n", ""), "[axes] has no 'batch'."),
    "no method": (
        GOOD.partition("[[")[0] + "",
        "no 'method'. A suite has a name, [axes], and one [[method]] or more.",
    ),
    "empty list of methods": (
        "method = []\n" + GOOD.partition("[[")[0],
        "no [[method]]: there is nothing to measure.",
    ),
    "forward": (
        method('forward = "torch/eig"'),
        f"[[method]] 1: Unknown forward 'eig'. Did you mean 'eigh'? {FORWARDS}",
    ),
    "library": (
        method('forward = "pytorch/eigh"'),
        "[[method]] 1: Unknown library 'pytorch'. Did you mean 'torch'? Known: cupy, numpy, torch.",
    ),
    "backward": (
        method('forward = "torch/eigh"\nbackward = "lowner"'),
        f"[[method]] 1: Unknown backward 'lowner'. Did you mean 'loewner'? {BACKWARDS}",
    ),
    "second method": (
        GOOD + '[[method]]\nforward = "torch/eigx"\n',
        f"[[method]] 2: Unknown forward 'eigx'. Did you mean 'eigh'? {FORWARDS}",
    ),
    "no forward": (
        method('backward = "none"'),
        "[[method]] 1: no 'forward': name one or more backends, such as \"torch/eigh\".",
    ),
    "parameter of a method without any": (
        method('forward = "torch/eigh"\niterations = 5'),
        "[[method]] 1: forward 'eigh' takes no 'iterations': it has no parameters. Remove "
        "'iterations'.",
    ),
    "parameter": (
        method('forward = "torch/newton_schulz"\niteration = 5'),
        "[[method]] 1: forward 'newton_schulz' takes no 'iteration'. Unknown parameter "
        "'iteration'. Did you mean 'iterations'? Known: iterations, norm.",
    ),
    "backward's parameter without a backward": (
        method('forward = "torch/eigh"\nbackward_iterations = 5'),
        "[[method]] 1: 'backward_iterations' is given, but the backward is none.",
    ),
    "word of a parameter": (
        method('forward = "torch/newton_schulz"\nnorm = "trase"'),
        "[[method]] 1: Unknown norm of newton_schulz 'trase'. Did you mean 'trace'? Known: "
        "frob2, frob4, frobenius, inf, min_ws_minc, minc, power, trace, wolkowicz_styan.",
    ),
    "text for a number": (
        method('forward = "torch/newton_schulz"\niterations = "5"'),
        "[[method]] 1: forward 'newton_schulz': its parameter iterations = '5' is not a whole "
        'number or "auto".',
    ),
    "negative steps": (
        method('forward = "torch/newton_schulz"\niterations = -1'),
        "[[method]] 1: forward 'newton_schulz': its parameter iterations = -1 is negative.",
    ),
    "problem": (
        GOOD + 'problem = "wishar"\n',
        "[[method]] 1: Unknown problem 'wishar'. Did you mean 'wishart'? Known: ",
    ),
    "precision": (
        GOOD + 'precision = "exact"\n',
        "[[method]] 1: Unknown precision 'exact'. Known: bfloat16, float16, float32, float64, "
        "tf32.",
    ),
    "precision with a near one": (
        GOOD + 'precision = "float23"\n',
        "[[method]] 1: Unknown precision 'float23'. Did you mean 'float32'? Known: bfloat16, "
        "float16, float32, float64, tf32.",
    ),
    "function": (
        GOOD + 'function = "sqrtm"\n',
        "[[method]] 1: Unknown function 'sqrtm'. Did you mean 'sqrt'? "
        "Known: isqrt, isqrt_b, log, sqrt, sqrt_x, whiten.",
    ),
    "device": (
        GOOD + 'device = "gpu"\n',
        "[[method]] 1: Unknown device 'gpu'. Did you mean 'cuda'? Known: auto, cpu, cuda.",
    ),
    **{
        f"size {x}": (size(x), f"[axes] size = {said} is not a whole number of 1 or more.")
        for x, said in {
            "0": "0",
            "-3": "-3",
            '"many"': "'many'",
            "true": "True",
            "2.5": "2.5",
            "[4, 0]": "0",
            "[[4]]": "[4]",
            "2020-01-01": "datetime.date(2020, 1, 1)",
            '"-8:16:*2"': "'-8:16:*2'",
        }.items()
    },
    **{
        f"batch {x}": (
            GOOD.replace("batch = 2", f"batch = {x}"),
            f"[axes] batch = {said} is not a whole number of 1 or more.",
        )
        for x, said in {
            "0": "0",
            "-3": "-3",
            '"many"': "'many'",
            "true": "True",
            "2.5": "2.5",
        }.items()
    },
    "negative seed": (
        GOOD + "seed = -1\n",
        "[[method]] 1: seed = -1 is not a whole number of 0 or more.",
    ),
    "empty axis": (size("[]"), "[axes] size is empty: give at least one value."),
    "empty forward": (
        method("forward = []"),
        "[[method]] 1: no 'forward': name one or more backends, such as \"torch/eigh\".",
    ),
    "empty backward": (
        method('forward = "torch/eigh"\nbackward = []'),
        "[[method]] 1: 'backward' is empty: name one or more, or none.",
    ),
    "empty parameter": (
        method('forward = "torch/newton_schulz"\niterations = []'),
        "[[method]] 1: iterations is empty: give at least one value.",
    ),
    "endless range": (size('"4:8:*1"'), "[axes] size: range '4:8:*1' never ends."),
    "still range": (size('"4:8:+0"'), "[axes] size: range '4:8:+0' never ends."),
    "empty range": (size('"8:4:*2"'), "[axes] size: range '8:4:*2' is empty: 8 is beyond 4."),
    "huge range": (
        size('"1:99999999999:+1"'),
        "[axes] size: 99,999,999,999 cells are too many: at most 1,000,000 can be measured.",
    ),
    "huge product": (
        GOOD.replace("batch = 2", 'batch = "1:2000:+1"\nseed = "1:2000:+1"'),
        "[[method]] 1: 8,000,000 cells are too many: at most 1,000,000 can be measured.",
    ),
    "measure key": (
        GOOD + "[measure]\nmin_second = 1\n",
        "[measure] Unknown key 'min_second'. Did you mean 'min_seconds'? Known: block_seconds, "
        "interval, max_error, max_samples, max_seconds, min_samples, min_seconds, minutes, passes, "
        "timeout_seconds, "
        "warmup_seconds.",
    ),
    **{
        f"measure {x}": (
            GOOD + f"[measure]\nmin_seconds = {x}\n",
            f"[measure] min_seconds = {said} is not a number of 0 or more.",
        )
        for x, said in {
            "-1": "-1",
            "true": "True",
            '"1"': "'1'",
            "nan": "nan",
            "inf": "inf",
            "[1]": "[1]",
        }.items()
    },
    "half a sample": (
        GOOD + "[measure]\nmin_samples = 1.5\n",
        "[measure] min_samples = 1.5 is not a whole number of 1 or more.",
    ),
    "no time": (
        GOOD + "[measure]\ntimeout_seconds = 0\n",
        "[measure] timeout_seconds = 0 leaves no time for any cell.",
    ),
    "everything excluded": (
        GOOD + "[[exclude]]\nsize = [4, 8]\n",
        "no cell is left: [[exclude]] takes every one.",
    ),
    "exclude nothing said": (
        GOOD + "[[exclude]]\n",
        "[[exclude]] 1: it is empty and would exclude every cell.",
    ),
    "exclude key": (
        GOOD + "[[exclude]]\nsiez = 4\n",
        "[[exclude]] 1: Unknown key 'siez'. Did you "
        f"mean 'size'? Nearest of {len(EXCLUDABLE)}: size, ",
    ),
    "exclude empty": (
        GOOD + "[[exclude]]\niterations = []\n",
        "[[exclude]] 1: iterations is empty and would exclude nothing.",
    ),
    "exclude size": (
        GOOD + "[[exclude]]\nsize = 0\n",
        "[[exclude]] 1: size = 0 is not a whole number of 1 or more.",
    ),
    "exclude forward": (
        GOOD + '[[exclude]]\nsize = 4\n[[exclude]]\nforward = "eig"\n',
        f"[[exclude]] 2: Unknown forward 'eig'. Did you mean 'eigh'? {FORWARDS}",
    ),
    "exclude backend": (
        GOOD + '[[exclude]]\nbackend = "torch/eig"\n',
        f"[[exclude]] 1: Unknown forward 'eig'. Did you mean 'eigh'? {FORWARDS}",
    ),
    "exclude library": (
        GOOD + '[[exclude]]\nlibrary = "tocrh"\n',
        "[[exclude]] 1: Unknown library 'tocrh'. Did you mean 'torch'? Known: cupy, numpy, torch.",
    ),
    "exclude auto": (
        GOOD + '[[exclude]]\ndevice = "auto"\n',
        "[[exclude]] 1: device = 'auto' is not the device of a cell: write cpu or cuda.",
    ),
    "exclude a parameter's value": (
        GOOD + '[[exclude]]\ndriver = "gesvdk"\n',
        "[[exclude]] 1: Unknown driver of svd 'gesvdk'. Did you mean 'gesvd'? Known: default, "
        "gesvd, gesvda, gesvdj.",
    ),
    "axis that every method replaces": (
        GOOD.replace("[axes]", '[axes]\nprecision = "float23"') + 'precision = "float32"\n',
        "[axes] precision: Unknown precision 'float23'. Did you mean 'float32'? Known: bfloat16, "
        "float16, float32, float64, tf32.",
    ),
    "exclude steps": (
        GOOD + '[[exclude]]\niterations = "5"\n',
        "[[exclude]] 1: iterations = '5' is not a whole number or \"auto\".",
    ),
    "not toml": (GOOD + "size = = 3\n", "not valid TOML: Invalid value (at line 7, column 8)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_suite_is_refused_with_file_key_and_the_nearest_word(tmp_path, capsys, case):
    text, said = REFUSED[case]
    path = tmp_path / "mine.toml"
    path.write_text(text)
    code, out, err = called(capsys, "run", path, "--out", tmp_path / "run")
    assert (code, out) == (2, "")
    if said.endswith(("Known: ", ": eigh, ", ": size, ")):  # of a list that grows
        assert err.startswith(f"mssbench: {path}: {said}")
    else:
        assert err == f"mssbench: {path}: {said}\n"
    assert not (tmp_path / "run").exists()


KEYS = (
    "Known: batch, block_seconds, device, function, interval, max_error, max_samples, "
    "max_seconds, min_samples, min_seconds, minutes, passes, precision, problem, ridge, rtol, "
    "seed, size, timeout_seconds, warmup_seconds."
)
FLAGS = {
    ("--set", "siez=3"): f"--set siez=3: Unknown key 'siez'. Did you mean 'size'? {KEYS}",
    ("--set", "size"): "--set size: write KEY=VALUE or KEY=VALUE,VALUE.",
    ("--set", "size="): "--set size=: write KEY=VALUE or KEY=VALUE,VALUE.",
    ("--set", "size=4,"): "--set size=4,: write KEY=VALUE or KEY=VALUE,VALUE.",
    ("--set", "size=0"): "--set size=0: size = 0 is not a whole number of 1 or more.",
    ("--set", "size=many"): "--set size=many: size = 'many' is not a whole number of 1 or more.",
    ("--set", "size=nan"): "--set size=nan: size = 'nan' is not a whole number of 1 or more.",
    ("--set", "size=8:4:*2"): "--set size=8:4:*2: range '8:4:*2' is empty: 8 is beyond 4.",
    ("--set", "precision=float23"): "--set precision=float23: Unknown precision 'float23'. Did you "
    "mean 'float32'? Known: bfloat16, float16, float32, float64, tf32.",
    ("--set", "min_seconds=x"): "--set min_seconds=x: [measure] min_seconds = 'x' is not a number "
    "of 0 or more.",
    ("--set", "min_seconds=1,2"): "--set min_seconds=1,2: min_seconds takes one value.",
    ("--set", "forward=torch/eigh"): "--set forward=torch/eigh: methods are chosen by --only "
    "\"backend == 'torch/eigh'\".",
    ("--set", "forward=torch/egh"): "--set forward=torch/egh: methods are chosen by --only "
    "\"backend == 'torch/eigh'\". This suite has no backend 'torch/egh', but torch/eigh.",
    ("--set", "backward=non,none"): "--set backward=non,none: methods are chosen by --only "
    "\"backward in ['none', 'none']\". This suite has no backward 'non', but none.",
    ("--effort", "fast"): "--effort: Unknown effort 'fast'. Known: quick, rigorous, smoke, "
    "standard.",
    ("--device", "gpu"): "--device gpu: Unknown device 'gpu'. Did you mean 'cuda'? Known: auto, "
    "cpu, cuda.",
    ("--only", "siz > 3"): "--only 'siz > 3': Unknown column 'siz'. Did you mean 'size'? Known: "
    "backend, backward, backward_iterations, batch, device, forward, function, iterations, "
    "library, method, options, pair, precision, problem, seed, size.",
    (
        "--only",
        "size > 99",
    ): "--only 'size > 99' leaves none of the 2 cells. Present values of size: 4, 8.",
    ("--only", "forward == 'eig'"): "--only \"forward == 'eig'\" leaves none of the 2 cells. "
    "Unknown forward 'eig'. Did you mean 'eigh'? Known: eigh.",
    ("--only", "size >"): "--only 'size >' is not an expression: invalid syntax. "
    "Write one such as: size > 16 and precision == 'float32'.",
    ("--only", ""): "--only '' is not an expression: invalid syntax. Write one such as: size > 16 "
    "and precision == 'float32'.",
    ("--retry", "timeouts"): "--retry: Unknown status 'timeouts'. Did you mean 'timeout'? Known: "
    "crashed, diverged, implausible, inaccurate, interrupted, nonfinite, not_installed, ok, "
    "oom, timeout, "
    "unavailable, unsupported.",
}


@pytest.mark.parametrize("flags", FLAGS, ids=" ".join)
def test_a_bad_flag_is_refused_by_its_name_and_an_old_run_stays(tmp_path, capsys, flags):
    path, run = tmp_path / "mine.toml", tmp_path / "run"
    path.write_text(GOOD)
    run.mkdir()
    (run / "table.csv").write_text("old")
    code, out, err = called(capsys, "run", path, "--out", run, "--fresh", *flags)
    assert (code, out, err) == (2, "", f"mssbench: {FLAGS[flags]}\n")
    assert [p.name for p in run.iterdir()] == ["table.csv"]
    assert (run / "table.csv").read_text() == "old"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("quik", f"Unknown suite 'quik'. Did you mean 'quick'? Known: {SHIPPED}."),
        ("no/such", f"there is no suite file 'no/such'. Shipped: {SHIPPED}."),
        ("quick.toml", f"there is no suite file 'quick.toml'. Shipped: {SHIPPED}."),
    ],
)
def test_an_unknown_suite_names_the_nearest(capsys, name, said):
    assert called(capsys, "run", name) == (2, "", f"mssbench: {said}\n")


@pytest.mark.parametrize("how", ["flag", "axis", "table", "override"])
def test_a_device_that_is_named_and_not_there_is_refused(tmp_path, capsys, monkeypatch, how):
    from mssbench.errors import NotInstalled, Unavailable
    from mssbench.machine import devices

    def check(library, device):
        if device == "cuda":
            kind = Unavailable if library == "torch" else NotInstalled
            raise kind(f"{library} has no GPU")

    monkeypatch.setattr(devices, "check_library", check)
    text = method('forward = ["torch/eigh", "cupy/eigh"]')
    text += 'device = ["cpu", "cuda"]\n' if how == "table" else ""
    text = text.replace("[axes]", '[axes]\ndevice = "cuda"') if how == "axis" else text
    path = tmp_path / "mine.toml"
    path.write_text(text)
    flags = {"flag": ["--device", "cuda"], "override": ["--set", "device=cuda"]}.get(how, [])
    assert called(capsys, "run", path, "--out", tmp_path / "run", *flags) == (
        2,
        "",
        "mssbench: device cuda is not available: torch has no GPU; cupy has no GPU. "
        "Use --device cpu or --device auto.\n",
    )
    assert not (tmp_path / "run").exists()


def test_cuda_for_one_library_is_enough(load, monkeypatch):
    """Cells of the others become rows that say what is missing."""
    from mssbench.errors import Unavailable
    from mssbench.machine import devices
    from mssbench.suite.select import _refuse_missing_device

    def check(library, device):
        if (library, device) == ("torch", "cuda"):
            raise Unavailable("this torch is built without CUDA")

    monkeypatch.setattr(devices, "check_library", check)
    text = method('forward = ["torch/eigh", "cupy/eigh"]')
    _refuse_missing_device(load(text, device="cuda"))


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SuiteError, match="cannot be read: 'utf-8' codec can't decode"):
        suite.load(path, auto="cpu")


def test_smoke_has_every_built_in_method():
    cells = suite.load(suite.find("smoke"), auto="cpu").cells
    for kind in ("forward", "backward"):
        ours = {
            m.name
            for m in registry.known(kind).values()
            if m.call.__module__.startswith(f"mssbench.methods.{kind}.")
        }
        assert ours
        assert ours <= {getattr(c, kind) for c in cells}
