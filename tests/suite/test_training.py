"""Suites of trainings: what they expand to, and what is refused."""

import csv
import tomllib
from pathlib import Path

import pytest
from helpers.root import ROOT

from mssbench.errors import SuiteError
from mssbench.suite.shipped import of_trainings
from mssbench.suite.training import load
from mssbench.training.one import method_of

COMMITTED = sorted((ROOT / "results").glob("*/trainings.csv"))

SUITE = """
name = "mine"
[training]
task = ["digits", "tex12"]
seed = [0, 1]
learning_rate = 0.1
[[method]]
forward = "mean"
[[method]]
forward = "newton_schulz"
backward = "autodiff"
iterations = 5
norm = "trace"
learning_rate = [0.05, 0.1]
precision = "float64"
then = {forward = "eigh", backward = "loewner"}
"""


def written(folder: Path, text: str) -> str:
    file = folder / "mine.toml"
    file.write_text(text)
    return str(file)


def test_a_suite_has_a_cell_for_each_combination(tmp_path) -> None:
    suite = load(written(tmp_path, SUITE))
    assert suite.name == "mine"
    assert len(suite.cells) == 2 * 2 * (1 + 2)
    assert len({cell.cell_id for cell in suite.cells}) == len(suite.cells)

    hybrid = next(c for c in suite.cells if c.forward != "mean")
    assert hybrid.options == "iterations=5 norm=trace"
    assert hybrid.precision == "float64"
    assert {c.learning_rate for c in suite.cells if c.forward == "mean"} == {0.1}
    assert hybrid.method == (
        "newton_schulz + autodiff iterations=5 norm=trace then backward=loewner forward=eigh"
    )


def test_a_parameter_may_have_several_values(tmp_path) -> None:
    text = SUITE.replace("iterations = 5", "iterations = [1, 5]").replace(
        'forward = "mean"', 'forward = ["mean", "covariance"]'
    )
    suite = load(written(tmp_path, text))
    assert len(suite.cells) == 2 * 2 * (2 + 2 * 2)
    assert {c.options for c in suite.cells} == {
        "",
        "iterations=1 norm=trace",
        "iterations=5 norm=trace",
    }


@pytest.mark.parametrize(
    ("added", "places", "channels"),
    [("", 49, 64), ("places = 196", 196, 64), ("channels = 256", 49, 256)],
)
def test_places_and_channels_are_those_of_the_task_unless_named(
    tmp_path, added, places, channels
) -> None:
    text = SUITE.replace('["digits", "tex12"]', f'"tex12"\n{added}')
    suite = load(written(tmp_path, text))
    assert {(c.places, c.channels) for c in suite.cells} == {(places, channels)}
    assert (suite.probes, suite.robustness) == (False, False)


def test_probes_and_robustness_belong_to_the_suite_and_not_to_its_cells(tmp_path) -> None:
    plain = load(written(tmp_path, SUITE))
    probed = load(
        written(
            tmp_path, SUITE.replace("[training]", "[training]\nprobes = true\nrobustness = true")
        )
    )
    assert (probed.probes, probed.robustness) == (True, True)
    assert probed.cells == plain.cells


def test_a_cell_becomes_the_method_that_was_written(tmp_path) -> None:
    hybrid = next(c for c in load(written(tmp_path, SUITE)).cells if c.forward != "mean")
    method = method_of(hybrid)
    assert (method.forward, method.backward) == ("newton_schulz", "autodiff")
    assert dict(method.parameters) == {"iterations": 5, "norm": "trace"}
    assert method.precision == "float64"
    assert method.then is not None
    assert (method.then.forward, method.then.backward) == ("eigh", "loewner")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[training]", "[trainingg]", "Unknown key 'trainingg'. Did you mean 'training'"),
        ("seed = [0, 1]", "sed = 0", r"\[training\]: Unknown key 'sed'. Did you mean 'seed'"),
        ("learning_rate = 0.1", "learning_rate = 0", "learning_rate = 0 is not above 0"),
        ("learning_rate = 0.1", 'learning_rate = "x"', "is not of the type float"),
        ("seed = [0, 1]", "seed = true", "seed = True is not of the type int"),
        ('precision = "float64"', 'precision = "float46"', "Did you mean 'float64'"),
        ('forward = "mean"', 'backward = "loewner"', r"needs forward = \"NAME\""),
        ('then = {forward = "eigh", backward = "loewner"}', "then = 3", "names one method"),
        ('task = ["digits", "tex12"]', "", "must name a task"),
        ("seed = [0, 1]", "seed = []", r"seed = \[\] has no value"),
        ("learning_rate = 0.1", "learning_rate = inf", "learning_rate = inf is not above 0 and"),
        ('name = "mine"', 'name = "../mine"', "name = '../mine' cannot be the name of a folder"),
        ('name = "mine"', 'name = ".."', "name = '..' cannot be the name of a folder"),
        ('name = "mine"', 'name = ""', "name = '' cannot be the name of a folder"),
        ('name = "mine"', "name = 3", "name = 3 cannot be the name of a folder"),
        ("iterations = 5", "iterations = []", r"iterations = \[\] has no value"),
        ("seed = [0, 1]", "places = 50", "places = 50 is none of those of digits: 16, 64"),
        ("seed = [0, 1]", "channels = -1", "channels = -1 is below 0"),
        ("seed = [0, 1]", 'policy = "skp"', "Unknown policy 'skp'. Did you mean 'skip'"),
        ("seed = [0, 1]", 'device = "gpu"', "Unknown device 'gpu'"),
        ("seed = [0, 1]", "probes = 1", "probes = 1 is neither true nor false"),
        ('["digits", "tex12"]', '"smallcov"\nchannels = 64', "cannot be chosen for smallcov"),
        ('"tex12"]', '"text12"]', "Unknown task 'text12'. Did you mean 'tex12'"),
    ],
)
def test_what_is_wrong_is_named_with_the_file_and_the_nearest_word(
    tmp_path, old, new, words
) -> None:
    assert old in SUITE
    file = written(tmp_path, SUITE.replace(old, new))
    with pytest.raises(SuiteError, match=words) as raised:
        load(file)
    assert str(file) in str(raised.value)


CLAIM = """
[[claim]]
claim = "It is better."
source = "a paper"
value = "accuracy"
left = "forward == 'newton_schulz'"
relation = ">"
right = "forward == 'mean'"
where = "task == 'digits' and learning_rate == 0.1"
"""


def test_claims_do_not_change_the_trainings(tmp_path) -> None:
    claimed = SUITE + CLAIM
    cannot = '[[claim]]\nclaim = "a"\nsource = "b"\ncannot = "c"\n'
    assert load(written(tmp_path, claimed + cannot)).cells == load(written(tmp_path, SUITE)).cells


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("relation =", "relatoin =", "Unknown key 'relatoin'. Did you mean 'relation'"),
        ('">"', '"=>"', "Unknown relation '=>'"),
        ('"accuracy"', '"accurac"', "Unknown value 'accurac'. Did you mean 'accuracy'"),
        ('"accuracy"', '"seed"', "Unknown value 'seed'"),
        ('left = "forward', 'left = "foward', "left .*: Unknown column 'foward'. Did you mean 'fo"),
        ("\"task == 'd", "\"tsak == 'd", "where .*: Unknown column 'tsak'. Did you mean 'task'"),
        ("'newton_schulz'", "'newton_shulz'", "Unknown forward 'newton_shulz'. Did you mean 'newt"),
        ("'digits'", "'texfine'", "where selects no training. Unknown task 'texfine'"),
        ("forward == 'mean'", "forward != 'svd'", "right selects 2 methods: mean float32; newton"),
        ("forward == 'mean'", "forward == 'newton_schulz'", "right select the same method"),
        ("'mean'\"", "'mean' and seed == 3\"", "right selects no training. Present values of seed"),
        ("'mean'\"", "'mean' and task == 'tex12'\"", "right and where together select no train"),
        ("learning_rate == 0.1", "learning_rate == 0.05", "right and where together select no"),
        ('"accuracy"', '"mce"', "value = 'mce' needs robustness = true"),
        ('"accuracy"', '"band"', "value = 'band' needs probes = true"),
        ('relation = ">"', "", "no 'relation'. A claim has claim, source, and either left, relat"),
        ('relation = ">"', 'cannot = "x"\nrelation = ">"', "does not go with 'cannot'"),
        (
            'relation = ">"',
            'relation = ">"\nrates = "bset"',
            "Unknown rates 'bset'. Did you mean 'b",
        ),
        ('relation = ">"', 'relation = ">"\nmargin = "1"', "margin = '1' is not a number"),
        ('relation = ">"', 'relation = ">"\nmargin = nan', "margin = nan is not a number"),
        ('relation = ">"', 'relation = ">"\naccept = "ok"', "accept = 'ok' is not a list"),
        ('relation = ">"', 'relation = ">"\naccept = ["nonfinit"]', "Did you mean 'nonfinite'"),
        ('"It is better."', '""', "claim = '' is not a text"),
        ("\"forward == 'mean'\"", "true", "right = True is not a condition or a number"),
        ("[[claim]]", "[claim]", r"'claim' is a list of tables: write \[\[claim\]\]"),
        ("left = \"forward == 'newton_schulz'\"", 'left = "__import__(1)"', "is not allowed"),
    ],
)
def test_a_mistake_in_a_claim_is_named(tmp_path, old, new, words) -> None:
    assert old in CLAIM
    file = written(tmp_path, SUITE + CLAIM.replace(old, new))
    with pytest.raises(SuiteError, match=words) as raised:
        load(file)
    assert str(file) in str(raised.value)


def test_a_claim_whose_sides_share_no_rate_is_refused_unless_each_has_its_best(tmp_path) -> None:
    suite = SUITE.replace("learning_rate = [0.05, 0.1]", "learning_rate = [0.05, 0.2]")
    claim = CLAIM.replace(" and learning_rate == 0.1", "")
    with pytest.raises(SuiteError, match="left and right share no seed of the same task, learn"):
        load(written(tmp_path, suite + claim))
    assert load(written(tmp_path, suite + claim + 'rates = "best"\n')).cells


def test_best_rates_are_those_of_one_task(tmp_path) -> None:
    claim = CLAIM.replace("where = \"task == 'digits' and learning_rate == 0.1\"", 'rates = "best"')
    with pytest.raises(SuiteError, match="one setting: select one task by where"):
        load(written(tmp_path, SUITE + claim))


def test_a_value_relative_to_mean_pooling_needs_it(tmp_path) -> None:
    suite = SUITE.replace('forward = "mean"', 'forward = "covariance"')
    claim = CLAIM.replace("'mean'", "'covariance'").replace("accuracy", "epochs_to_first_order")
    with pytest.raises(SuiteError, match="is relative to mean pooling: add a"):
        load(written(tmp_path, suite + claim))


def test_suites_that_do_not_exist_or_cannot_be_read_are_refused(tmp_path) -> None:
    with pytest.raises(SuiteError, match="Did you mean 'train_smoke'"):
        load("train_smok")
    with pytest.raises(SuiteError, match="there is no suite file"):
        load(str(tmp_path / "none.toml"))
    with pytest.raises(SuiteError, match="cannot be read"):
        load(written(tmp_path, "name = ["))
    with pytest.raises(SuiteError, match=r"method = 'a' is not a table: write \[\[method\]\]"):
        load(written(tmp_path, 'method = ["a"]\n'))
    with pytest.raises(SuiteError, match=r"training = 'x' is not a table: write \[training\]"):
        load(written(tmp_path, 'training = "x"\n[[method]]\nforward = "eigh"\n'))
    with pytest.raises(SuiteError, match=r"there is no \[\[method\]\]"):
        load(written(tmp_path, '[training]\ntask = "digits"\n'))


@pytest.mark.parametrize("name", sorted(of_trainings()))
def test_every_shipped_suite_can_be_trained(name) -> None:
    suite = load(name)
    assert suite.name == name
    assert suite.description
    assert suite.cells


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_a_committed_run_has_the_trainings_and_claims_of_its_suite_as_shipped(path) -> None:
    """A suite that was changed since must be trained again, or its claims be stored anew."""
    document = tomllib.loads((path.parent / "suite.toml").read_text())
    shipped_now = load(document["name"])
    assert document == shipped_now.document
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["cell_id"] for row in rows] == [cell.cell_id for cell in shipped_now.cells]
    assert {row["status"] for row in rows} <= {"ok", "nonfinite"}
