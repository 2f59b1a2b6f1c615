"""`mssbench claims` of a run of trainings."""

import json

import pytest
from helpers.tables import called
from helpers.trainings import rows, written

from mssbench.cli.train import report
from mssbench.console.terminal import plain

EXACT = [0.70, 0.72, 0.69, 0.71, 0.73, 0.70]
BETTER = [0.722, 0.738, 0.711, 0.731, 0.748, 0.721]
CLAIM = {
    "claim": "Newton-Schulz trains better than the exact root.",
    "source": "this test",
    "left": "forward == 'newton_schulz'",
    "relation": ">",
    "right": "forward == 'eigh'",
}
CLAIMS = [CLAIM, CLAIM | {"relation": "<", "rates": "best"}]


@pytest.fixture
def run(tmp_path):
    def plant(claims=CLAIMS):
        trainings = [*rows("ns5", BETTER), *rows("exact", EXACT)]
        return written(tmp_path / "a run", trainings, claims)

    return plant


def test_claims_of_trainings_are_printed_with_their_verdicts(run, capsys) -> None:
    code, out, _ = called(capsys, "claims", run())
    assert code == 0
    assert out.splitlines()[0].split("  ")[0].strip() == "holds"
    assert "it is > 0 in 6 of 6 seeds" in " ".join(out.split())
    assert "does not hold here" in out
    assert "\x1b" not in out


def test_json_has_a_row_for_each_claim(run, capsys) -> None:
    code, out, _ = called(capsys, "claims", run(), "--json")
    found = json.loads(out)
    assert (code, found["command"]) == (0, "claims")
    first, second = found["rows"]
    assert {k: first[k] for k in ("verdict", "source", "value", "seeds", "wins")} == {
        "verdict": "holds", "source": "this test", "value": "accuracy", "seeds": 6, "wins": 6,
    }  # fmt: skip
    assert first["low"] < first["mean"] < first["high"]
    assert first["left_rate"] is None
    assert second["left_rate"] == {"rate": 0.1, "at_edge": True}


def test_a_run_of_trainings_without_claims_says_what_to_do(run, capsys) -> None:
    code, _, err = called(capsys, "claims", run([]))
    words = " ".join(err.split())
    assert code == 2
    assert "has no claims. Write [[claim]] tables into the suite and call `mssbench train`" in words


def test_two_methods_on_a_side_are_misuse(run, capsys) -> None:
    code, _, err = called(capsys, "claims", run([CLAIM | {"left": "seed < 3"}]))
    assert code == 2
    assert "suite.toml: [[claim]] 1: left selects 2 methods" in " ".join(err.split())


def test_train_says_how_many_claims_hold(run, monkeypatch) -> None:
    monkeypatch.setattr("mssbench.cli.train.read_facts", lambda _: {})
    monkeypatch.setattr("mssbench.cli.train.conclusions.machines", lambda *_: [])
    folder = run()
    assert f"1 of 2 claims hold; see mssbench claims '{folder}'" in plain(report(folder))
    assert "claims" not in plain(report(run([])))
