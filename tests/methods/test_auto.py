"""`forward="auto"`: the pair that was measured near a size and batch, else the default pair."""

import json

import numpy as np
import pytest
import torch

import mssbench
from mssbench.errors import InputError, RegistryError
from mssbench.methods import auto
from mssbench.methods.pair import pair
from mssbench.testing.matrices import spectrum, with_spectrum

SHIPPED = json.loads(auto.SHIPPED.read_text())["choices"]


def entry(size=64, batch=16, forward="newton_schulz", **more):
    return {
        "device": "cpu",
        "function": "sqrt",
        "gradient": True,
        "precision": "float64",
        "size": size,
        "batch": batch,
        "forward": forward,
        "backward": "loewner",
        "parameters": {"iterations": 20},
        "seconds": 1.0,
        "machine": "a machine",
        "date": "2026-01-01",
        "run": "mine",
    } | more


@pytest.fixture
def save(tmp_path, monkeypatch):
    """Write a user's table with these entries, and forget what was read before."""
    path = tmp_path / "auto.json"
    monkeypatch.setenv("MSSBENCH_AUTO", str(path))
    monkeypatch.setattr(auto, "SHIPPED", tmp_path / "shipped.json")

    def write(*entries, schema=auto.SCHEMA, name="auto.json"):
        (tmp_path / name).write_text(json.dumps({"schema": schema, "choices": [*entries]}))
        auto.forget()

    auto.forget()
    yield write
    auto.forget()


def matrices(n, batch, *, gradient=True):
    a = torch.tensor(with_spectrum(spectrum("condition_100", n), batch=batch))
    return a.requires_grad_(gradient)


def test_the_pair_that_was_measured_is_called_with_its_parameters(save):
    save(entry(size=8, batch=4))
    a = matrices(8, 4)
    found = mssbench.chosen(a)
    assert found[:3] == ("newton_schulz", "loewner", {"iterations": 20})
    assert "n = 8, batch 4, measured in mine on a machine, 2026-01-01" in found.why

    y = mssbench.sqrtm(a, forward="auto")
    named = mssbench.sqrtm(a, forward="newton_schulz", backward="loewner", iterations=20)
    (found_s,) = torch.autograd.grad(y.sum(), a)
    (named_s,) = torch.autograd.grad(named.sum(), a)
    assert torch.equal(y, named)
    assert torch.equal(found_s, named_s)
    assert not torch.equal(y, mssbench.sqrtm(a)), "this pair and the default pair differ in bits"


@pytest.mark.parametrize(
    ("n", "batch", "near"),
    [
        (64, 16, True),
        (128, 16, True),
        (32, 128, True),
        (64, 2, True),
        (129, 16, False),
        (31, 16, False),
        (64, 129, False),
        (64, 1, False),
    ],
)
def test_a_place_speaks_for_twice_its_size_and_eight_times_its_batch(save, n, batch, near):
    save(entry())
    place = auto.Conditions("cpu", "sqrt", True, "float64", n, batch)
    assert (auto.choice(place).forward == "newton_schulz") == near


@pytest.mark.parametrize(
    "other",
    [{"device": "cuda"}, {"function": "isqrt"}, {"gradient": False}, {"precision": "float32"}],
)
def test_what_was_measured_elsewhere_says_nothing(save, other):
    save(entry(**other))
    assert auto.choice(auto.Conditions("cpu", "sqrt", True, "float64", 64, 16))[:2] == auto.DEFAULT


def test_the_nearest_place_counts_and_size_more_than_batch(save):
    save(entry(64, 16, "newton_schulz"), entry(96, 16, "minimax"), entry(64, 64, "denman_beavers"))
    found = {
        (n, batch): auto.choice(auto.Conditions("cpu", "sqrt", True, "float64", n, batch)).forward
        for n, batch in [(64, 16), (90, 16), (64, 40), (70, 60)]
    }
    assert found == {
        (64, 16): "newton_schulz",
        (90, 16): "minimax",
        (64, 40): "denman_beavers",
        (70, 60): "denman_beavers",
    }


def test_a_difference_in_size_counts_twice_as_much_as_one_in_batch(save):
    save(entry(64, 32, "newton_schulz"), entry(90, 48, "minimax"))
    assert auto.choice(auto.Conditions("cpu", "sqrt", True, "float64", 90, 32)).forward == "minimax"


def test_a_users_own_answers_come_before_the_shipped_ones(save):
    save(entry(forward="minimax"), name="shipped.json")
    place = auto.Conditions("cpu", "sqrt", True, "float64", 64, 16)
    assert auto.choice(place).forward == "minimax"
    save(entry(size=100))
    assert auto.choice(place).forward == "newton_schulz", "though the shipped place is nearer"


def test_without_tables_it_is_the_default_pair_and_says_so(save):
    found = mssbench.chosen(matrices(5, 2))
    assert found[:2] == ("eigh", "loewner")
    assert "nothing near" in found.why


def test_a_batch_of_another_library_takes_the_default_pair(save):
    save(entry(size=4, batch=2))
    a = with_spectrum(spectrum("condition_100", 4), batch=2)
    assert "only torch was measured" in mssbench.chosen(a).why
    assert np.array_equal(mssbench.sqrtm(a, forward="auto"), mssbench.sqrtm(a))


def test_the_inverse_root_is_chosen_for_itself(save):
    save(entry(size=8, batch=4, function="isqrt", forward="minimax", parameters={}))
    a = matrices(8, 4)
    assert torch.equal(mssbench.isqrtm(a, forward="auto"), mssbench.isqrtm(a, forward="minimax"))
    assert torch.equal(mssbench.sqrtm(a, forward="auto"), mssbench.sqrtm(a))


@pytest.mark.parametrize(
    ("more", "named"), [({"backward": "autodiff"}, "backward"), ({"iterations": 5}, "iterations")]
)
def test_nothing_is_named_beside_auto(save, more, named):
    with pytest.raises(InputError, match=f'"auto" chooses the whole pair: leave {named} out'):
        mssbench.sqrtm(matrices(4, 2), forward="auto", **more)


def test_inside_vmap_the_whole_batch_counts(save):
    save(entry(size=8, batch=48))
    a = matrices(8, 48, gradient=False).reshape(3, 16, 8, 8)
    seen = []

    def root(x):
        seen.append(mssbench.chosen(x).forward)
        return mssbench.sqrtm(x, forward="auto")

    named = {"forward": "newton_schulz", "backward": "loewner", "iterations": 20}
    due = mssbench.sqrtm(a, **named)
    assert torch.allclose(torch.func.vmap(torch.func.vmap(root))(a), due)
    assert torch.allclose(
        torch.func.vmap(root, in_dims=3, out_dims=3)(a.permute(0, 2, 3, 1)), due.permute(0, 2, 3, 1)
    )
    torch.func.vmap(torch.func.grad(lambda x: root(x).sum()))(a[0])
    assert seen == ["newton_schulz"] * 3


def test_no_forward_can_be_registered_under_the_name_that_chooses_one():
    from mssbench.methods import registry

    def auto(a):
        return a

    with registry.temporarily(), pytest.raises(RegistryError, match="stands for the pair that was"):
        registry.register_forward(cite="none", products=lambda: 1.0)(auto)


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', "\x00"])
def test_a_damaged_table_is_named_with_the_remedy(save, tmp_path, text):
    save()
    (tmp_path / "auto.json").write_text(text)
    with pytest.raises(InputError, match=r"auto\.json, cannot be read.*recommend --save"):
        mssbench.sqrtm(matrices(4, 2), forward="auto")


def test_a_table_of_another_version_is_refused(save):
    save(schema=2)
    with pytest.raises(InputError, match="it has schema 2, not 1"):
        mssbench.sqrtm(matrices(4, 2), forward="auto")


@pytest.mark.parametrize("place", SHIPPED, ids=lambda p: f"{p['forward']}-{p['size']}-{p['batch']}")
def test_every_shipped_pair_exists_and_is_right(place):
    """On a small batch, against numpy in float64."""
    parameters = tuple(sorted(place["parameters"].items()))
    chosen = pair(place["function"], place["forward"], place["backward"], parameters)
    a = with_spectrum(spectrum("condition_100", 16), batch=3)
    w, v = np.linalg.eigh(a)
    power = 0.5 if place["function"] == "sqrt" else -0.5
    due = (v * w[:, None, :] ** power) @ v.swapaxes(1, 2)
    given = torch.tensor(a, dtype=getattr(torch, place["precision"]))
    assert chosen(given).double().numpy() == pytest.approx(due, rel=1e-4, abs=1e-4)


def test_the_place_of_the_users_table(monkeypatch, tmp_path):
    monkeypatch.delenv("MSSBENCH_AUTO", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert auto.users_table() == tmp_path / "mssbench" / "auto.json"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert auto.users_table() == tmp_path / ".local" / "share" / "mssbench" / "auto.json"


def test_in_forward_mode_it_is_the_pair_for_a_gradient(save):
    save(entry(size=8, batch=4), entry(size=8, batch=4, gradient=False, forward="minimax"))
    a, seen = matrices(8, 4).detach(), []

    def root(x):
        seen.append(mssbench.chosen(x).forward)
        return mssbench.sqrtm(x)

    torch.func.jvp(root, (a,), (a,))
    root(a)
    assert seen == ["newton_schulz", "minimax"]


def test_a_function_that_does_not_exist_is_refused(save):
    with pytest.raises(InputError, match="cbrt"):
        mssbench.chosen(matrices(3, 2), "cbrt")


def test_without_a_gradient_a_forward_that_pairs_with_no_loewner_can_be_chosen(save):
    save(
        entry(
            size=8,
            batch=4,
            function="isqrt",
            gradient=False,
            forward="inverse_newton",
            parameters={},
        )
    )
    a = matrices(8, 4, gradient=False)
    assert mssbench.chosen(a, "isqrt").forward == "inverse_newton"
    assert torch.equal(
        mssbench.isqrtm(a, forward="auto"), mssbench.isqrtm(a, forward="inverse_newton")
    )
