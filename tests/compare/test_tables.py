"""Two tables: matched by key, refused where they say nothing of each other, told by intervals."""

import io
import json

import pytest
from helpers.tables import IDENTITY, called, frame, row, write
from rich.console import Console

from mssbench.compare.check import check
from mssbench.compare.describe import compare, geometric_means
from mssbench.compare.judgement import Judgement, RowPair
from mssbench.compare.tables import StoredRun, both_measured, matched
from mssbench.compare.verdict import Verdict
from mssbench.console.comparison import judgements
from mssbench.errors import NotComparable
from mssbench.results import baselines
from mssbench.results.folder import RunFolder
from mssbench.suite.thresholds import parse

HERE = {"cpu": "here", "versions": {"torch": "2.13.0"}}
FACTS = {"environments": {"e" * 12: HERE}, "runs": {}}
QUIET = {"noise": "quiet", "root": 1e-6, "fingerprint": 1.5, "products": 1.0, "passes": 2}


def side(*rows, facts=FACTS):
    return StoredRun(frame(*rows), facts)


def verdict(base, new, **more):
    (found,) = compare(side(base), side(new), **more).judgements
    return found.verdict


@pytest.mark.parametrize(
    ("seconds", "spread", "expected"),
    [
        (1.0, 0.001, "same"),
        (1.02, 0.001, "same"),
        (0.98, 0.001, "same"),
        (1.02, 0.02, "unflagged"),
        (1.0, 0.05, "unflagged"),
        (1.05, 0.001, "slower"),
        (0.94, 0.001, "faster"),
        (1.05, 0.04, "unclear"),
        (0.94, 0.04, "unclear"),
    ],
)
def test_a_verdict_is_of_intervals_and_never_of_points(seconds, spread, expected):
    base, new = row(1.0, spread=spread, **QUIET), row(seconds, spread=spread, **QUIET)
    assert verdict(base, new) == expected


def test_what_noise_hides_is_not_told():
    for noise, delta in (("quiet", 0.03), ("noisy", 0.10)):
        rest = QUIET | {"noise": noise}
        assert verdict(row(1.0, **rest), row(1 + delta + 0.01, **rest)) == "slower"
        assert verdict(row(1.0, **rest), row(1 + delta - 0.01, **rest)) == "same"
    shaken = QUIET | {"noise": "unstable"}
    assert verdict(row(1.0, **QUIET), row(2.0, **shaken)) == "unclear"


def test_the_detectable_slowdown_is_one_that_is_told_and_less_is_not():
    base = row(1.0, spread=0.04, **QUIET)
    (found,) = compare(side(base), side(row(1.0, spread=0.04, **QUIET))).judgements
    assert found.verdict == "unflagged"
    least = 1 + found.detectable
    assert verdict(base, row(least * 1.001, spread=0.04, **QUIET)) == "slower"
    assert verdict(base, row(least * 0.999, spread=0.04, **QUIET)) != "slower"


def test_one_pass_confirms_nothing():
    assert verdict(row(1.0, **QUIET), row(2.0, **QUIET | {"passes": 1})) == "unclear"


def test_a_machine_that_drifted_confirms_nothing():
    drifted = FACTS | {"runs": {"r" * 12: {"drift": 0.2}}}
    found = compare(side(row(1.0, **QUIET)), side(row(2.0, **QUIET), facts=drifted)).judgements[0]
    assert found.verdict == "unclear"
    assert "changed by 20 %" in found.reason
    assert "mssbench ab" in found.advice


def test_a_larger_error_is_worse_however_fast():
    fast = row(0.5, **QUIET | {"root": 3e-6})
    assert verdict(row(1.0, **QUIET), fast) == "worse"


def test_statuses_and_missing_rows_have_verdicts():
    base = side(row(1.0, **QUIET), row(1.0, size=32, **QUIET), row(1.0, size=64, **QUIET))
    bad = row(status="crashed", reason="it died", size=32)
    new = side(row(1.0, **QUIET), bad, row(1.0, size=128, **QUIET))
    found = compare(base, new)
    by_size = {c.pair.row["size"]: str(c.verdict) for c in found.judgements}
    assert by_size == {16: "same", 32: "broken", 64: "gone", 128: "added"}
    assert "it died" in next(c.reason for c in found.judgements if c.verdict == "broken")


def test_a_geometric_mean_is_of_matched_rows_that_are_ok_on_both_sides():
    wrong = {"status": "inaccurate"}
    base = side(row(1.0, **QUIET), row(1.0, size=32, **QUIET), row(1.0, size=64, **QUIET | wrong))
    new = side(
        row(2.0, **QUIET),
        row(0.5, size=32, **QUIET),
        row(9.0, size=64, **QUIET | wrong),
        row(9.0, size=99, **QUIET),
    )
    (mean,) = geometric_means(compare(base, new).judgements, ["phase"])
    assert mean == ((("phase", "forward"),), pytest.approx(1.0), 2)


@pytest.mark.parametrize(
    ("word", "change"),
    [("machine", {"environment": "f" * 12}), ("problem", {"fingerprint": 1.6})],
)
def test_what_says_nothing_of_each_other_is_refused_unless_told(word, change):
    base, new = row(1.0, **QUIET), row(1.0, **QUIET) | change
    with pytest.raises(NotComparable, match=f"--across {word}"):
        compare(side(base), side(new))
    assert verdict(base, new, across=[word]) in (Verdict.SAME, Verdict.UNFLAGGED)


def test_json_has_the_condition_of_the_matrices_that_a_problem_s_name_hides(tmp_path, capsys):
    lines = [row(1.0, size=16, condition=6e2, **QUIET), row(1.0, size=64, condition=1e11, **QUIET)]
    base, new = save(tmp_path / "base", *lines), save(tmp_path / "new", *lines)
    for words in (("compare", base, new), ("check", new, "--baseline", base)):
        _, out, _ = called(capsys, *words, "--json")
        found = {r["size"]: r["condition"] for r in json.loads(out)["rows"]}
        assert found == {16: 6e2, 64: 1e11}


def test_other_code_is_compared_by_times_and_errors_and_said(tmp_path, capsys):
    other = {"code_hash": "0ther"}
    svd = QUIET | {"forward": "svd"}
    base = save(tmp_path / "base", row(1.0, **QUIET), row(1.0, size=32, **QUIET), row(1.0, **svd))
    new = save(
        tmp_path / "new",
        row(2.0, **QUIET) | other,
        row(1.0, size=32, **QUIET | {"root": 1e-3}) | other,
        row(1.0, **svd),
    )
    code, out, _ = called(capsys, "compare", base, new)
    assert (code, last(out)[:22]) == (0, "mssbench: verdict=pass")
    assert "the code of 2 of 3 rows differs: torch/eigh\n" in out
    _, out, _ = called(capsys, "compare", base, new, "--json")
    found = json.loads(out)
    verdicts = {(r["forward"], r["size"]): r["verdict"] for r in found["rows"]}
    assert verdicts == {("eigh", 16): "slower", ("eigh", 32): "worse", ("svd", 16): "same"}
    assert found["remarks"] == ["the code of 2 of 3 rows differs: torch/eigh"]


def test_of_other_code_only_a_few_methods_are_named_and_unknown_code_is_not_other():
    base, new = (
        [row(1.0, **QUIET | {"forward": f"mine_{i}"}) | {"code_hash": code} for i in range(7)]
        for code in ("0ne", "0ther")
    )
    (remark,) = compare(side(*base), side(*new)).remarks
    assert remark.startswith("the code of 7 of 7 rows differs: torch/mine_0, ")
    assert remark.endswith("torch/mine_4 and 2 more")
    older = [each | {"code_hash": ""} for each in base]
    assert compare(side(*older), side(*new)).remarks == ()
    assert compare(side(*base), side(*base)).remarks == ()


def test_other_code_with_another_input_is_refused_all_the_same():
    change = {"code_hash": "0ther", "fingerprint": 1.6}
    with pytest.raises(NotComparable, match="input of 1 row"):
        compare(side(row(1.0, **QUIET)), side(row(1.0, **QUIET) | change))


def test_rounding_of_another_machine_is_the_same_input():
    assert verdict(row(1.0, **QUIET), row(1.0, **QUIET) | {"fingerprint": 1.5 + 1e-9}) == "same"
    unknown = row(1.0, **QUIET) | {"fingerprint": None}  # an older table
    assert verdict(unknown, row(1.0, **QUIET)) == "same"


def test_tables_without_a_common_row_are_not_comparable():
    with pytest.raises(NotComparable, match="size is 16 in base and 64 in new"):
        compare(side(row(1.0)), side(row(1.0, size=64)))


def test_where_only_combinations_differ_no_single_column_is_blamed():
    base = row(1.0, size=16, seed=0), row(1.0, size=32, seed=1)
    new = row(1.0, size=16, seed=1), row(1.0, size=32, seed=0)
    words = "no column alone tells them apart, but their combinations do"
    with pytest.raises(NotComparable, match=f"have no row in common: {words}"):
        compare(side(*base), side(*new))


@pytest.mark.parametrize(("empty", "name"), [(0, "base"), (1, "new")])
def test_a_table_without_a_row_is_named(tmp_path, capsys, empty, name):
    paths = [write(tmp_path / "0", row(1.0, **QUIET)), write(tmp_path / "1", row(1.0, **QUIET))]
    write(paths[empty])
    code, _, err = called(capsys, "compare", *paths)
    assert (code, err) == (2, f"mssbench: the table of {name} has no row.\n")


# The commands.


def save(path, *rows, name="tiny", check=""):
    with RunFolder(path) as folder:
        folder.write_facts(FACTS | {"runs": {"r" * 12: {"started": "2026-01-01T00:00:00"}}})
        folder.write_suite(f'name = "{name}"\n{check}')
        folder.finish(rows)
    return path


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """Two runs of three rows, of which the second has one that is slower."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "base", *(row(1e-3, size=n, **QUIET) for n in (16, 32, 64)))
    save(
        tmp_path / "new",
        *(row(t, size=n, **QUIET) for n, t in ((16, 1e-3), (32, 1e-3), (64, 2e-3))),
    )
    return tmp_path / "base", tmp_path / "new"


def last(text):
    return text.strip().splitlines()[-1]


def test_compare_describes_and_does_not_judge(pair, capsys):
    code, out, _ = called(capsys, "compare", *pair)
    assert code == 0
    assert "2.00x" in out
    assert "unflagged: no difference was detected" not in out  # two rows are the same
    assert "geometric mean of 3 rows, forward, wall clock: 1.26x" in out
    assert last(out) == "mssbench: verdict=pass slower=1 worse=0 broken=0 gone=0 unclear=0 rows=3"


@pytest.mark.parametrize("display", ["simple", "intervals", "explain"])
def test_three_displays_show_as_much_as_they_are_asked(pair, capsys, display):
    code, out, _ = called(capsys, "compare", *pair, "--display", display)
    assert code == 0
    assert ("[2.00x, 2.00x]" in out) is (display != "simple")
    assert ("the intervals do not overlap" in out) is (display == "explain")
    assert ("n = 16" in out or " 16 " in out) is (display != "simple")  # what has not changed


def test_what_every_row_shares_is_said_once_and_where_nothing_is_shared_nothing(tmp_path, capsys):
    base = [row(1e-3, **QUIET), row(1e-3, size=32, **QUIET)]
    save(tmp_path / "base", *base)
    save(tmp_path / "new", *(r | {"seconds_median": 2e-3} for r in base))
    _, out, _ = called(capsys, "compare", tmp_path / "base", tmp_path / "new")
    (line,) = (line for line in out.splitlines() if line.startswith("everywhere: "))
    assert "batch 64" in line
    assert "n = " not in line
    a = row(1e-3) | {"method": "torch/eigh"}
    b = row(
        1e-3,
        function="isqrt",
        problem="identity",
        size=32,
        batch=8,
        precision="float64",
        device="cuda",
        phase="step",
        clock="gpu",
    ) | {"method": "torch/eigh"}
    apart = [Judgement(RowPair(r, r), Verdict.SLOWER, "") for r in (a, b)]
    assert "everywhere" not in printed(apart)
    many = [Judgement(RowPair(a, a), Verdict.SLOWER, "") for _ in range(40)]
    first = printed([*many, apart[1]])  # the last row is counted only, and has another clock
    assert first.count("wall clock") == 1
    assert "and 1 more row" in first
    cold = [RowPair(r, r) for r in (a, b | {"cache": "cold"})]
    told = printed([Judgement(each, Verdict.SLOWER, "") for each in cold])
    assert "cold cache" in told
    assert "hot cache" not in told  # a time on the wall clock has no cold cache
    assert printed(apart[:1]).count("everywhere: ") == 1


@pytest.mark.parametrize("command", ["compare", "check"])
def test_a_row_without_a_difference_has_its_word_explained(tmp_path, capsys, command):
    rows = [row(1e-3, spread=0.9, **QUIET | {"noise": "unstable"})]
    base, new = (save(tmp_path / name, *rows) for name in ("base", "new"))
    options = [new, "--baseline", base] if command == "check" else [base, new]
    _, out, _ = called(capsys, command, *options)
    assert "unflagged: no difference was detected, and none is excluded\n1 unflagged\n" in out


def printed(found, display="simple"):
    stream = io.StringIO()
    console = Console(file=stream, width=200)
    for each in judgements(found, display):
        console.print(each)
    return stream.getvalue()


def test_of_very_many_rows_the_most_urgent_are_shown_and_the_others_counted():
    plain = row(1e-3) | {"method": "torch/eigh"}
    pairs = [RowPair(r, r) for r in (plain | {"size": 100 + i} for i in range(43))]
    found = [Judgement(pair, Verdict.SAME, "") for pair in pairs[:-1]]
    found.append(Judgement(pairs[-1], Verdict.SLOWER, "so"))
    text = printed(found)
    assert text.count("torch/eigh") == 40
    assert " 142 " in text  # the last is the one that somebody must know
    assert text.endswith("and 3 more rows (--json has all)\n")
    assert "more row" not in printed(found[3:])


def test_an_explained_row_has_its_reason_below_and_what_to_do_next_where_there_is_any():
    plain = row(1e-3) | {"method": "torch/eigh"}
    pair = RowPair(plain, plain)

    def lines(**given):
        text = printed([Judgement(pair, Verdict.UNCLEAR, **given)], "explain")
        return [line.strip() for line in text.splitlines()][1:]  # below what is shared

    assert lines(reason="so it is") == ["unclear  torch/eigh", "so it is"]
    assert lines(reason="", advice="do it") == ["unclear  torch/eigh", "next: do it"]
    assert lines(reason="") == ["unclear  torch/eigh"]


def test_means_are_taken_by_what_is_asked(pair, capsys):
    _, out, _ = called(capsys, "compare", *pair, "--by", "size")
    assert "geometric mean of 1 row, forward, wall clock, n = 64: 2.00x" in out


def test_check_lets_time_pass_until_it_is_told_not_to(pair, capsys):
    base, new = pair
    code, out, _ = called(capsys, "check", new, "--baseline", base)
    assert code == 0
    assert "advice only, no failure" in out
    assert last(out).startswith("mssbench: verdict=pass")
    code, out, _ = called(capsys, "check", new, "--baseline", base, "--fail-on", "seconds:50%")
    assert code == 1
    assert "allowed 1.50 ms by seconds:50%" in out
    assert last(out).startswith("mssbench: verdict=regression slower=1")
    more = ["--fail-on", "seconds:50%", "--fail-on", "torch/eigh:seconds:150%"]
    assert called(capsys, "check", new, "--baseline", base, *more)[0] == 0


def test_the_suite_of_the_baseline_has_rules_of_its_own(capsys, tmp_path):
    base = save(
        tmp_path / "base",
        *(row(1e-3, size=n, **QUIET) for n in (16, 32, 64)),
        check='[check]\nfail_on = ["seconds:50%"]\n',
    )
    slower = save(tmp_path / "slower", *(row(2e-3, size=n, **QUIET) for n in (16, 32, 64)))
    assert called(capsys, "check", slower, "--baseline", base)[0] == 1
    assert called(capsys, "check", slower, "--baseline", base, "--fail-on", "seconds:200%")[0] == 0


SEEDED = {
    "error": ({"root": 3.1e-6}, 1),
    "product": ({"products": 2.0}, 1),
    "operators": ({"operators": 8}, 1),
    "bytes": ({"saved_bytes": 2048.0}, 1),
    "status": ({"status": "inaccurate"}, 4),
    "crash": ({"status": "crashed"}, 4),
    "lost number": ({"products": None}, 1),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("fault", SEEDED)
def test_a_seeded_fault_is_found(tmp_path, capsys, fault):
    change, code = SEEDED[fault]
    whole = QUIET | {"operators": 7, "saved_bytes": 1024.0}
    base = save(tmp_path / "base", row(1.0, **whole), row(1.0, size=32, **whole))
    new = save(tmp_path / "new", row(1.0, **whole | change), row(1.0, size=32, **whole))
    assert called(capsys, "check", base, "--baseline", base)[0] == 0
    assert called(capsys, "check", new, "--baseline", base)[0] == code


def test_a_limit_that_limits_nothing_would_pass_for_ever(pair, capsys):
    base, new = pair
    for rule in ("torch/newton_shulz*:seconds:50%", "launches:10%", "gradient_error:3x"):
        code, out, err = called(capsys, "check", new, "--baseline", base, "--fail-on", rule)
        assert (code, out) == (2, "")
        assert f"'{rule}' limits nothing" in err
        near = "Did you mean 'torch/" in err
        assert near is rule.startswith("torch/"), err


def test_a_limit_on_time_is_refused_on_another_machine(pair, capsys, tmp_path):
    base, _ = pair
    identity = IDENTITY | {"environment": "f" * 12}
    with RunFolder(tmp_path / "there") as folder:
        folder.write_facts({"environments": {"f" * 12: HERE | {"cpu": "there"}}, "runs": {}})
        folder.finish([row(9.0, size=n, identity=identity, **QUIET) for n in (16, 32, 64)])
    there = tmp_path / "there"
    assert called(capsys, "check", there, "--baseline", base)[0] == 0
    rule = ("--fail-on", "seconds:50%")
    code, out, err = called(capsys, "check", there, "--baseline", base, *rule)
    assert (code, "--across machine" in err) == (5, True)
    assert last(out) == "mssbench: verdict=incomparable"
    code, *_ = called(capsys, "check", there, "--baseline", base, *rule, "--across", "machine")
    assert code == 1


def test_of_another_input_the_status_counts_all_the_same(tmp_path, capsys):
    base = save(tmp_path / "base", row(1.0, **QUIET), row(1.0, size=32, **QUIET))
    other = {"fingerprint": 9.0}
    new = save(
        tmp_path / "new",
        row(1.0, **QUIET),
        row(1.0, size=32, **QUIET | other | {"status": "inaccurate"}),
    )
    assert called(capsys, "check", new, "--baseline", base)[0] == 5
    assert called(capsys, "check", new, "--baseline", base, "--across", "problem")[0] == 4


def test_builds_of_one_release_do_the_same_work(pair, capsys, tmp_path):
    base, _ = pair
    facts = {"environments": {"f" * 12: {"versions": {"torch": "2.13.0+cpu", "triton": "3.6"}}}}
    with RunFolder(tmp_path / "build") as folder:
        folder.write_facts(facts | {"runs": {}})
        identity = IDENTITY | {"environment": "f" * 12}
        folder.finish([row(1e-3, size=n, identity=identity, **QUIET) for n in (16, 32, 64)])
    assert called(capsys, "check", tmp_path / "build", "--baseline", base)[0] == 0


def test_a_row_that_vanished_fails_and_one_that_appeared_does_not(pair, capsys, tmp_path):
    base, _ = pair
    less = save(tmp_path / "less", row(1e-3, **QUIET))
    code, out, _ = called(capsys, "check", less, "--baseline", base)
    assert code == 4
    assert "gone=2" in last(out)
    assert called(capsys, "check", base, "--baseline", less)[0] == 0
    assert called(capsys, "check", less, "--baseline", base, "--only", "size == 16")[0] == 0


def test_a_check_that_compared_no_number_is_no_pass(tmp_path, capsys):
    absent = save(tmp_path / "absent", row(status="not_installed"))
    code, out, _ = called(capsys, "check", absent, "--baseline", absent)
    assert code == 6
    assert last(out).startswith("mssbench: verdict=nothing_measured")
    timed = save(tmp_path / "timed", row(1.0))  # no error, no count
    assert called(capsys, "check", timed, "--baseline", timed)[0] == 6
    assert called(capsys, "compare", absent, absent)[0] == 6


def test_other_releases_make_counts_incomparable(pair, capsys, tmp_path):
    base, _ = pair
    facts = {"environments": {"f" * 12: {"versions": {"torch": "2.14.0"}}}, "runs": {}}
    with RunFolder(tmp_path / "later") as folder:
        folder.write_facts(facts)
        identity = IDENTITY | {"environment": "f" * 12}
        folder.finish([row(1e-3, size=n, identity=identity, **QUIET) for n in (16, 32, 64)])
    code, _, err = called(capsys, "check", tmp_path / "later", "--baseline", base)
    assert code == 5
    assert "torch is 2.13.0 in base and 2.14.0 in new" in err
    across = ["--across", "versions"]
    with RunFolder(tmp_path / "later") as folder:  # a product more: that is how it is done now
        more = QUIET | {"products": 2.0}
        folder.finish([row(1e-3, size=n, identity=identity, **more) for n in (16, 32, 64)])
    code, out, _ = called(capsys, "check", tmp_path / "later", "--baseline", base, *across)
    assert code == 0
    assert "counts were not compared" in out


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("check", "new", "--baseline", "bas"), 2, "there is no baseline 'bas'"),
        (("check", "nowhere", "--baseline", "base"), 2, "there is no run in nowhere"),
        (
            ("check", "new", "--baseline", "base", "--fail-on", "second:3x"),
            2,
            "Did you mean 'seconds'",
        ),
        (("check", "new", "--baseline", "base", "--across", "machin"), 2, "Did you mean 'machine'"),
        (("compare", "base", "new", "--across", "versions"), 2, "Known: machine, problem."),
        (("compare", "base", "new", "--display", "all"), 2, "Unknown display 'all'"),
        (("compare", "base", "new", "--by", "siz"), 2, "Did you mean 'size'"),
        (("compare", "base", "new", "--only", "size > 99"), 2, "leaves no row of base"),
        (("compare", "base", "other.csv"), 2, "is not a result table"),
        (("compare", "base", "newer"), 2, "has schema 9"),
        (("compare", "base", "apart"), 5, "no row in common"),
    ],
)
def test_bad_input_is_one_sentence_with_the_nearest_right_thing(
    pair, capsys, tmp_path, arguments, code, why
):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    write(tmp_path / "newer", row(1.0) | {"schema": 9})
    write(tmp_path / "apart", row(1.0, size=7))
    found, out, err = called(capsys, *arguments)
    assert found == code
    assert out == ("mssbench: verdict=incomparable\n" if code == 5 else "")
    assert why in err
    assert err.count("\n") == 1


def test_json_has_every_row_and_the_same_verdict(pair, capsys):
    base, new = pair
    code, out, _ = called(capsys, "compare", base, new, "--json")
    found = json.loads(out)
    assert (code, found["verdict"]) == (0, "pass")
    assert [r["verdict"] for r in found["rows"]] == ["same", "same", "slower"]
    assert {r["condition"] for r in found["rows"]} == {None}
    assert found["geometric_means"][0]["rows"] == 3
    code, out, _ = called(capsys, "check", new, "--baseline", base, "--json")
    found = json.loads(out)
    assert (code, found["exit_code"]) == (0, 0)
    assert {g["gate"]: g["rows"] for g in found["gates"]}["root_error"] == 3
    assert len(found["advice"]) == 1


# Baselines.


def test_a_baseline_is_saved_listed_shown_used_and_set_aside(pair, capsys, tmp_path):
    base, new = pair
    code, out, _ = called(capsys, "baseline", "save", base)
    assert code == 0
    assert "3 rows in results/baselines/tiny" in out
    assert called(capsys, "check", base, "--baseline", "tiny")[0] == 0
    assert called(capsys, "check", new, "--baseline", "tiny", "--fail-on", "seconds:50%")[0] == 1
    assert called(capsys, "baseline", "save", new)[0] == 0
    assert called(capsys, "check", new, "--baseline", "tiny", "--fail-on", "seconds:50%")[0] == 0
    code, out, _ = called(capsys, "baseline", "list", "--json")
    names = [b["name"] for b in json.loads(out)["rows"]]
    assert names[0] == "tiny"
    assert len(names) == 2
    assert names[1].startswith("tiny@20")
    assert called(capsys, "check", base, "--baseline", names[1])[0] == 0
    code, out, _ = called(capsys, "baseline", "show", "tiny")
    assert "torch/eigh" in out
    called(capsys, "baseline", "save", base, "--keep", "0")
    assert [b["name"] for b in baselines.known()] == ["tiny"]


@pytest.mark.parametrize(
    ("rows", "name", "why"),
    [
        ([row(status="not_installed")], "x", "no measured row"),
        ([row(1.0), row(status="interrupted", size=9)], "x", "was stopped before 1 row"),
        ([row(1.0)], "../x", "is not a word"),
    ],
)
def test_what_everything_would_pass_against_is_no_baseline(
    tmp_path, monkeypatch, capsys, rows, name, why
):
    monkeypatch.chdir(tmp_path)
    run = save(tmp_path / "run", *rows)
    code, _, err = called(capsys, "baseline", "save", run, "--name", name)
    assert code == 2
    assert why in err
    assert not (tmp_path / "results").exists()


def test_an_empty_list_says_how_to_begin(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, _ = called(capsys, "baseline", "list")
    assert (code, "baseline save RUN" in out) == (0, True)


def test_a_run_in_which_every_row_failed_is_broken_and_not_incomparable(tmp_path, capsys):
    """Nobody knows the machine of a run that measured nothing, but what is wrong is the rows."""
    base, new = tmp_path / "base", tmp_path / "new"
    failed = row(status="crashed", reason="it fell", identity=IDENTITY)
    for path, each in ((base, row(1.0, identity=IDENTITY, **QUIET)), (new, failed)):
        with RunFolder(path) as folder:
            folder.write_facts(FACTS)
            folder.finish([each])
    code, out, _ = called(capsys, "check", new, "--baseline", base)
    assert code == 4, out  # the method was tried, and broke
    assert "broken=1" in last(out)
    both = write(tmp_path / "both", row(1.0, root=1e-6), row(2.0, root=1e-6, size=64))
    half = write(
        tmp_path / "half", row(1.0, root=1e-6), row(status="crashed", reason="it fell", size=64)
    )
    code, out, _ = called(capsys, "check", half, "--baseline", both)
    assert (code, "broken=1" in last(out)) == (4, True), out


def test_a_new_row_that_crashes_is_counted_by_the_gate_that_saw_it(tmp_path, capsys):
    base = write(tmp_path / "base", row(1.0, root=1e-6))
    new = write(
        tmp_path / "new", row(1.0, root=1e-6), row(status="crashed", reason="it fell", size=64)
    )
    code, out, _ = called(capsys, "check", new, "--baseline", base, "--json")
    gates = {g["gate"]: g for g in json.loads(out)["gates"]}
    assert (code, gates["status"]["breached"]) == (4, 1)


def test_what_does_not_compare_is_json_too_if_that_was_asked_for(tmp_path, capsys):
    base, new = (write(tmp_path / str(n), row(1.0, root=1e-6, size=n)) for n in (16, 64))
    code, out, err = called(capsys, "compare", base, new, "--json")
    found = json.loads(out)
    assert (code, found["verdict"], found["exit_code"]) == (5, "incomparable", 5)
    assert "no row in common" in found["reason"]
    assert "no row in common" in err


@pytest.mark.parametrize("drifted", ["base", "new"])
@pytest.mark.parametrize("command", [compare, check])
def test_a_machine_that_drifted_during_either_run_confirms_no_time(command, drifted):
    steady, unsteady = (FACTS | {"runs": {"r" * 12: {"drift": x}}} for x in (0.09, 0.11))
    rows = {"base": row(1.0, **QUIET), "new": row(2.0, **QUIET)}

    def told(facts_of_drifted):
        sides = [
            side(rows[name], facts=facts_of_drifted if name == drifted else steady)
            for name in ("base", "new")
        ]
        found = command(*sides)
        changes = found.judgements if command is compare else found.advice
        return [str(c.verdict) for c in changes]

    assert told(steady) == ["slower"]
    assert told(unsteady) == (["unclear"] if command is compare else [])


def test_of_several_runs_in_a_table_the_one_that_drifted_most_counts():
    facts = FACTS | {"runs": {"a": {"drift": 0.01}, "b": {"drift": 0.2}, "c": {"drift": None}}}
    rows = [
        row(1.0, size=n, identity=IDENTITY | {"run_id": name}, **QUIET)
        for n, name in ((16, "a"), (32, "b"), (64, "c"), (128, "unknown"))
    ]
    assert side(*rows, facts=facts).drift() == 0.2
    assert side(rows[0], facts=facts).drift() == 0.01
    assert side(rows[3], facts=facts).drift() == 0.0


@pytest.mark.parametrize(("factor", "worse"), [(1.99, False), (2.01, True)])
@pytest.mark.parametrize(
    ("column", "keyword"),
    [("root_error", "root"), ("gradient_error", "gradient"), ("residual", "residual")],
)
def test_check_and_compare_let_an_error_double_and_no_more(column, keyword, factor, worse):
    """The errors are far above one rounding of float32, so nothing else excuses them."""
    whole = {k: v for k, v in QUIET.items() if k != "root"}
    base = side(row(1.0, **whole | {keyword: 1e-3}))
    new = side(row(1.0, **whole | {keyword: factor * 1e-3}))
    assert verdict_of(compare(base, new)) == ("worse" if worse else "same")
    judged = check(base, new)
    assert verdict_of(judged) == ("worse" if worse else "unflagged")
    assert str(judged.outcome) == ("regression" if worse else "pass")
    assert {t.gate for t in judged.tallies if t.breached} == ({column} if worse else set())


def verdict_of(found):
    (change,) = found.judgements
    return str(change.verdict)


@pytest.mark.parametrize("base_is_the_odd_one", [False, True])
@pytest.mark.parametrize(
    ("odd", "seconds", "expected"),
    [
        ({"noise": "unstable"}, 2.0, "unclear"),
        ({"noise": "noisy"}, 1.09, "same"),
        ({"passes": 1}, 2.0, "unclear"),
    ],
)
def test_the_less_certain_of_two_rows_decides_whichever_it_is(
    odd, seconds, expected, base_is_the_odd_one
):
    extra = [QUIET | odd, QUIET] if base_is_the_odd_one else [QUIET, QUIET | odd]
    assert verdict(row(1.0, **extra[0]), row(seconds, **extra[1])) == expected
    assert verdict(row(1.0, **QUIET), row(seconds, **QUIET)) == "slower"


@pytest.mark.parametrize(("moved", "refused"), [(0.9e-6, False), (1.1e-6, True)])
def test_a_fingerprint_may_differ_by_rounding_and_no_more(moved, refused):
    base, new = row(1.0, **QUIET), row(1.0, **QUIET) | {"fingerprint": 1.5 - moved}
    if refused:
        with pytest.raises(NotComparable, match="the input of 1 row is different"):
            compare(side(base), side(new))
    else:
        assert verdict(base, new) == "same"


@pytest.mark.parametrize("failed", ["base", "new"])
def test_a_row_counts_as_measured_where_both_sides_have_a_number(failed):
    good, bad = row(1.0, **QUIET), row(status="crashed", reason="it died")
    whole = [row(1.0, size=32, **QUIET)]
    base, new = ([bad if name == failed else good, *whole] for name in ("base", "new"))
    assert sum(map(both_measured, matched(side(*base), side(*new)))) == 1


@pytest.mark.parametrize("wrong", ["base", "new"])
def test_times_of_a_row_that_is_wrong_on_one_side_are_not_compared(wrong):
    """Both are measured, and a step up says nothing of time either."""
    worse = {"status": "inaccurate" if wrong == "new" else "diverged"}
    better = {"status": "inaccurate"} if wrong == "base" else {}
    base, new = (worse, better) if wrong == "base" else ({}, worse)
    assert verdict(row(1.0, **QUIET | base), row(9.0, **QUIET | new)) in ("broken", "unflagged")
    both = {"status": "inaccurate"}
    (found,) = compare(side(row(1.0, **QUIET | both)), side(row(9.0, **QUIET | both))).judgements
    assert (found.verdict, found.ratio) == ("unflagged", None)
    assert found.reason == "inaccurate in both"
    if wrong == "base":  # nor is that a row to be advised about, though it is fixed
        fixed = check(side(row(1.0, **QUIET | both)), side(row(9.0, **QUIET)))
        assert (verdict_of(fixed), fixed.advice) == ("fixed", ())


def elsewhere(*rows):
    """The same on another machine, with the same releases of the libraries."""
    facts = {"environments": {"f" * 12: HERE | {"cpu": "there"}}, "runs": {}}
    return side(*(r | {"environment": "f" * 12} for r in rows), facts=facts)


def test_a_machine_that_two_releases_name_differently_is_one_machine():
    """Its facts say so: the name is a hash of those that a release takes to be telling."""
    same = {"environments": {"f" * 12: HERE | {"load": 3.0}}, "runs": {}}
    base, slow = row(1.0, **QUIET), row(2.0, **QUIET)
    here, renamed = side(base), side(slow | {"environment": "f" * 12}, facts=same)
    (found,) = compare(here, renamed).judgements  # nothing is said to be across machines
    assert found.verdict == "slower"
    assert len(check(here, renamed).advice) == 1
    lost = side(slow | {"environment": "f" * 12}, facts={"environments": {}, "runs": {}})
    with pytest.raises(NotComparable, match="the facts of one are not known"):
        compare(here, lost)


def test_across_machines_counts_are_not_compared_and_rounding_is_forgiven():
    """4 u sqrt(κ) of float32 is 2.4e-5 here; on one machine a third of that is ten times base's."""
    base = row(1.0, **QUIET | {"root": 1e-6, "condition": 1e4})
    new = row(1.0, **QUIET | {"root": 1e-5, "condition": 1e4, "products": 2.0})
    assert verdict(base, new | {"products": 1.0}) == "worse"
    assert verdict(base, new | {"root_error": 1e-6}) == "worse"
    (found,) = compare(side(base), elsewhere(new), across=["machine"]).judgements
    assert found.verdict == "same"
    far = row(1.0, **QUIET | {"root": 3e-5, "condition": 1e4})
    (found,) = compare(side(base), elsewhere(far), across=["machine"]).judgements
    assert found.verdict == "worse"


@pytest.mark.parametrize("library", ["torch", "numpy", "cupy"])
def test_another_release_of_any_array_library_is_refused(library):
    def with_version(x):
        facts = {"environments": {"e" * 12: {"versions": {library: x}}}, "runs": {}}
        return side(row(1.0, **QUIET), facts=facts)

    assert str(check(with_version("2.1"), with_version("2.1+cpu")).outcome) == "pass"
    with pytest.raises(NotComparable, match=f"{library} is 2.1 in base and 2.2 in new"):
        check(with_version("2.1"), with_version("2.2"))


def test_a_check_tells_time_from_what_has_no_noise():
    slow = row(2.0, **QUIET)
    limit = [parse("seconds:50%")]
    only_slow = check(side(row(1.0, **QUIET)), side(slow), limit)
    assert (verdict_of(only_slow), str(only_slow.outcome)) == ("slower", "regression")
    also_worse = check(side(row(1.0, **QUIET)), side(slow | {"products": 2.0}), limit)
    assert verdict_of(also_worse) == "worse"
    down = check(
        side(row(1.0, **QUIET | {"status": "inaccurate"})),
        side(row(1.0, **QUIET | {"status": "diverged"})),
    )
    assert verdict_of(down) == "worse"
    assert {t.gate: t.breached for t in down.tallies}["status"] == 1
    assert check(side(row(1.0, **QUIET)), elsewhere(slow)).advice == ()
    assert len(check(side(row(1.0, **QUIET)), side(slow)).advice) == 1


def test_a_row_that_vanished_is_counted_by_the_gate_that_saw_it():
    rows = row(1.0, **QUIET), row(1.0, size=32, **QUIET)
    found = check(side(*rows), side(rows[0]))
    (status,) = (t for t in found.tallies if t.gate == "status")
    assert (str(found.outcome), status.rows, status.breached) == ("broken", 2, 1)


def test_attack_a_label_that_only_one_table_lengthens_hides_no_count():
    """New has a second method of the same short label, so that both of its labels are long."""
    second = QUIET | {"options": "mode=default"}
    base = side(row(1.0, **QUIET | {"products": 3.0}))
    new = side(*(row(1.0, **each | {"products": 4.0}) for each in (QUIET, second)))
    found = compare(base, new).judgements[0]
    assert found.pair.base["method"] != found.pair.new["method"]
    assert (found.verdict, found.breached) == ("worse", ("products",))


def test_a_default_that_changed_is_named_where_its_rows_are_gone_and_added(tmp_path, capsys):
    rest = QUIET | {"forward": "newton_schulz"}
    base = save(tmp_path / "base", row(1.0, **QUIET), row(1.0, iterations=5, **rest))
    new = save(tmp_path / "new", row(1.0, **QUIET), row(1.0, iterations=7, **rest))
    for command in (("check", new, "--baseline", base), ("compare", base, new)):
        out = " ".join(called(capsys, *command)[1].split())
        assert "in 1 row, which are gone and added: torch/newton_schulz" in out
        assert "iterations=5 became iterations=7" in out
    same = " ".join(called(capsys, "check", base, "--baseline", base)[1].split())
    assert "gone and added" not in same
