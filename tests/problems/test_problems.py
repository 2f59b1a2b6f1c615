"""Problems: one spelling, the same bits everywhere, and the spectra that their names promise."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssbench import problems
from mssbench.errors import NotInstalled, RegistryError, Unsupported
from mssbench.problems import real, spectra, synthetic
from mssbench.problems.generator import spell
from mssbench.problems.registry import lookup
from mssbench.problems.rng import Streams

# First 16 digits of the SHA-256 of three matrices of seed 0. A change here is a change of what
# every stored result was measured on.
PINNED = {
    ("captured(stage=end, positions=49)", 32): "fae6f1117ae738a3",
    ("clusters(m=4, gap=0, condition=100)", 32): "ecd1945ccf13129f",
    ("convfeat(positions=49)", 32): "4f632ea76bb13357",
    ("dead_channels(frac=0.7)", 32): "fa732dd8c25bb1fa",
    ("exact_root(condition=1e6)", 32): "6726b2c00257de5c",
    ("gram", 32): "7f5016f37de8fd3a",
    ("identity", 32): "25aba3641c2b071b",
    ("logspec(condition=1e6)", 32): "9c297aa94a7f767e",
    ("near_identity(eps=1e-6)", 32): "473c3bc240ff3f4b",
    ("pinned(matrix=eigh_nonconv_64)", 64): "c3b45dc1bd14e554",
    ("pooled_features(positions=196, noise=0.3)", 32): "ecbb948fd64f5d16",
    ("power(p=1)", 32): "1985fe069cbef297",
    ("power_null(p=1.5, null=0.25)", 32): "19f1b5707f73f461",
    ("rankdef(rank=0.5, condition=100)", 32): "aafad6e7083785b2",
    ("relu_features(ratio=0.766)", 32): "e6fcdbb17958fb5f",
    ("spiked(top=100)", 32): "301a1744ac1b5439",
    ("wishart(ratio=2)", 32): "7dcfb605cd91e5fa",
}
PINNED_REAL = {
    ("digits_class", 64): "055255d3c419ef2a",
    ("lfw_faces(samples=80)", 64): "8003ee1de71c0a58",
    ("patchcov(image=grass, samples=1024)", 64): "36c311fe5ad3b417",
    ("tabular(table=breast_cancer, zscore=false)", 30): "a532c73e78ad362f",
}
CASES = [
    pytest.param(name, size, id=name.partition("(")[0]) for name, size in [*PINNED, *PINNED_REAL]
]


def make(name, size, batch, seed=0):
    """`problems.make`, skipping what needs a package that is not here."""
    try:
        return problems.make(name, size, batch, seed)
    except NotInstalled as missing:
        pytest.skip(str(missing))


def condition(name, size):
    w = np.linalg.eigvalsh(problems.make(name, size, 1, 0).master[0])
    return w[-1] / w[0]


# Names


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("wishart(ratio=0.766)", "wishart(ratio=0.766)"),
        ("wishart(0.766)", "wishart(ratio=0.766)"),
        (" wishart ( ratio = .7660 ) ", "wishart(ratio=0.766)"),
        ("wishart(ratio=2)", "wishart(ratio=2)"),
        ("wishart(2.0)", "wishart(ratio=2)"),
        ("identity()", "identity"),
        ("convfeat", "convfeat(positions=49)"),
        ("captured", "captured(stage=end, positions=49)"),
        ("captured(first, positions=20)", "captured(stage=first, positions=20)"),
        ("logspec(1000000.0)", "logspec(condition=1e6)"),
        ("logspec(condition=1e2)", "logspec(condition=100)"),
        ("logspec(condition=123456789)", "logspec(condition=123456789)"),
        ("clusters(gap=1e-12)", "clusters(m=4, gap=1e-12, condition=100)"),
        ("clusters(gap=-0)", "clusters(m=4, gap=0, condition=100)"),
        ("clusters(condition=10, m=2)", "clusters(m=2, gap=0, condition=10)"),
        ("patchcov(brick, samples=49)", "patchcov(image=brick, samples=49)"),
        ("patchcov('brick')", "patchcov(image=brick, samples=1024)"),
        ("tabular(wine, zscore=True)", "tabular(table=wine, zscore=true)"),
        ("power|scale(1e-6)", "power(p=1)|scale(factor=1e-6)"),
        ("power | mixed_batch", "power(p=1)|mixed_batch(bad=singular, position=0)"),
    ],
)
def test_every_problem_has_one_spelling(text, spelling):
    assert problems.canonical(text) == spelling
    assert problems.canonical(spelling) == spelling


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "wishart(rat=1)",
            "problem 'wishart' takes no 'rat'. Unknown parameter 'rat'. "
            "Did you mean 'ratio'? Known: ratio.",
        ),
        ("identity(x=1)", "problem 'identity' takes no 'x': it has no parameters."),
        ("identity(1)", "problem 'identity' takes no '1': it has no parameters."),
        ("wishart(ratio=0)", "problem 'wishart': ratio = 0 must be greater than 0."),
        ("wishart(-2)", "problem 'wishart': ratio = -2 must be greater than 0."),
        ("logspec(condition=0.5)", "problem 'logspec': condition = 0.5 must be at least 1."),
        ("rankdef(rank=1.5)", "problem 'rankdef': rank = 1.5 must be at most 1."),
        ("wishart(abc)", "problem 'wishart': ratio = 'abc' is not a number."),
        ("wishart(ratio=nan)", "problem 'wishart': ratio = 'nan' is not a number."),
        ("wishart(ratio=inf)", "problem 'wishart': ratio = 'inf' is not a number."),
        ("wishart(ratio=)", "problem 'wishart': ratio = '' is not a number."),
        ("convfeat(48.5)", "problem 'convfeat': positions = '48.5' is not a whole number."),
        ("convfeat(50)", "problem 'convfeat': positions = 50 must be at most 49."),
        ("tabular(zscore=maybe)", "problem 'tabular': zscore = 'maybe' is not true or false."),
        (
            "tabular(wines)",
            "Unknown table of tabular 'wines'. Did you mean 'wine'? Known: breast_cancer, wine.",
        ),
        (
            "captured(mid)",
            "Unknown stage of captured 'mid'. Did you mean 'middle'? "
            "Known: end, first, middle, start.",
        ),
        ("captured(positions=1)", "problem 'captured': positions = 1 must be at least 2."),
        ("wishart(ratio=1, ratio=2)", "problem 'wishart': ratio is given twice."),
        (
            "wishart(1, 2)",
            "problem 'wishart': write '2' as parameter=value; "
            "only the first may stand without its name.",
        ),
        (
            "wishart|scal(2)",
            "Unknown modifier 'scal'. Did you mean 'scale'? Known: mixed_batch, ridge, scale.",
        ),
        ("wishart|scale(factor=0)", "modifier 'scale': factor = 0 must be greater than 0."),
        ("scale(2)", "'scale' is a modifier: write problem|scale(...)."),
        *(
            (
                text,
                f"Cannot read problem {text!r}: write name(parameter=value, ...), "
                "then |modifier(...) for each change.",
            )
            for text in (
                "",
                "wishart(",
                "wishart)",
                "wishart()x",
                "power|",
                "a b",
                "wishart((2))",
                "wishart(__import__('os'))",
            )
        ),
    ],
)
def test_a_bad_text_says_what_is_wrong(text, message):
    with pytest.raises(RegistryError) as caught:
        problems.canonical(text)
    assert str(caught.value) == message


def test_an_unknown_problem_names_the_nearest_one():
    with pytest.raises(RegistryError, match=r"Unknown problem 'wishrt'. Did you mean 'wishart'\?"):
        problems.canonical("wishrt")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_spelled_number_reads_back_as_itself(value):
    assert float(spell(value)) == value
    assert spell(float(spell(value))) == spell(value)


@given(st.floats(1e-300, 1000.0), st.floats(1e-30, 1e30))
def test_the_spelling_keeps_every_value(ratio, factor):
    text = f"wishart({ratio!r})|scale({factor!r})"
    name = problems.canonical(text)
    assert problems.canonical(name) == name
    assert [float(part.rpartition("=")[2].rstrip(")")) for part in name.split("|")] == [
        ratio,
        factor,
    ]


@given(st.text(max_size=30))
def test_no_text_brings_anything_but_a_registry_error(text):
    try:
        name = problems.canonical(text)
    except RegistryError:
        return
    assert problems.canonical(name) == name


def test_every_generator_says_what_it_is():
    for generator in (*problems.generators().values(), *problems.modifiers().values()):
        assert generator.summary.endswith(".")
        assert generator.cite
        assert "\n\n" in generator.call.__doc__  # the formula, after the summary
        for parameter in generator.parameters.values():
            assert parameter.describe().startswith(f"{parameter.name}=")
            assert parameter.type in (int, float, bool, str)
            assert parameter.is_free_text or (
                parameter.type is not str or parameter.default in parameter.choices
            )


def test_names_are_read_without_any_optional_package():
    code = (
        "import sys; from mssbench import problems; problems.canonical('patchcov(brick)');"
        "problems.check_size('tabular', 30); problems.make('convfeat', 8, 2, 0);"
        "print([m for m in ('torch', 'skimage', 'sklearn', 'scipy', 'pandas') if m in sys.modules])"
    )
    assert run(code) == "[]"


def test_two_modules_cannot_share_a_name():
    def wishart(n, rng):
        """Mine."""

    wishart.__module__ = "mine"
    with pytest.raises(RegistryError, match=r"registered twice: by mssbench\..*and by mine"):
        problems.register_problem(cite="x")(wishart)


def test_a_registered_problem_is_made_and_its_promise_checked(monkeypatch):
    def lopsided(n, rng, *, entry: float = 1.0):
        """Not symmetric."""
        a = np.tile(np.eye(n), (len(rng), 1, 1))
        a[:, 0, 1] = entry
        return a

    with problems.REGISTRIES["problem"].temporarily():
        problems.register_problem(cite="x")(lopsided)
        assert problems.make("lopsided(0)", 3, 2, 0).master.shape == (2, 3, 3)
        with pytest.raises(RegistryError, match="not finite and symmetric"):
            problems.make("lopsided", 3, 2, 0)
        with pytest.raises(RegistryError, match="not finite and symmetric"):
            problems.make("lopsided|scale(1e30)|scale(1e30)|scale(1e-30)", 3, 2, 0)
    problems.parse.cache_clear()


# Sizes


@pytest.mark.parametrize(
    ("text", "size", "reason"),
    [
        ("tabular", 30, None),
        ("tabular", 13, "breast_cancer exists at size 30 only"),
        ("tabular(wine)", 13, None),
        ("digits_class", 32, "digits_class exists at size 64 only"),
        ("pinned", 63, "pinned exists at size 64 only"),
        ("convfeat", 64, None),
        ("convfeat", 65, "convfeat exists up to size 64"),
        ("captured(start)", 64, None),
        ("captured(start)", 65, "captured exists up to size 64"),
        ("clusters(m=8)", 7, "8 clusters need a size of at least 8"),
        ("clusters(m=8)", 9, None),
        ("patchcov", 60, "patches are square: the size must be a square number up to 1024"),
        ("lfw_faces", 676, "patches are square: the size must be a square number up to 625"),
        ("wishart", 0, "size 0 is not at least 1"),
    ],
)
def test_a_size_that_does_not_exist_has_a_reason(text, size, reason):
    assert problems.check_size(text, size) == reason
    if reason:
        with pytest.raises(Unsupported) as caught:
            problems.make(text, size, 1, 0)
        assert str(caught.value) == reason


def test_an_empty_batch_is_refused():
    with pytest.raises(Unsupported, match="batch 0 is not at least 1"):
        problems.make("wishart", 4, 0, 0)


# Of those below the only ones that do not exist.
TOO_SMALL = {("clusters(m=4, gap=0, condition=100)", size) for size in (1, 2, 3)}


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("name", [name for name, size in PINNED if size == 32])
def test_small_and_odd_sizes_work(name, size):
    if (reason := problems.check_size(name, size)) is not None:
        with pytest.raises(Unsupported, match=re.escape(reason)):
            problems.make(name, size, 2, 0)
        assert (name, size) in TOO_SMALL
        return
    assert (name, size) not in TOO_SMALL
    w = np.linalg.eigvalsh(problems.make(name, size, 2, 0).master)
    assert w.min() >= -1e-14 * max(w.max(), 1e-300)


# The same bits everywhere


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=Path(problems.__file__).parents[2],
    )
    return done.stdout.strip()


@pytest.mark.parametrize(("key", "digest"), PINNED.items(), ids=[k[0] for k in PINNED])
def test_masters_are_what_they_always_were(key, digest):
    assert problems.make(*key, 3, 0).digest == digest
    assert problems.canonical(key[0]) == key[0]


@pytest.mark.parametrize(("key", "digest"), PINNED_REAL.items(), ids=[k[0] for k in PINNED_REAL])
def test_real_masters_are_what_they_always_were(key, digest):
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    assert problems.make(*key, 3, 0).digest == digest
    assert problems.canonical(key[0]) == key[0]


def test_every_problem_is_pinned():
    pinned = {lookup("problem", name.partition("(")[0]).name for name, _ in [*PINNED, *PINNED_REAL]}
    outside = {"file"}  # what it gives is somebody's own, see test_files.py
    assert pinned == set(problems.generators()) - outside


@pytest.mark.parametrize(
    "environment",
    [
        {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"},
        {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4"},
    ],
    ids=["one thread", "two threads", "no AVX"],
)
def test_neither_threads_nor_vector_units_change_a_bit(environment):
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from mssbench import problems\n"
        f"keys = {list(PINNED)!r} + [('logspec(1e4)', 130), ('wishart(0.3)', 129)]\n"
        "for key in keys:\n"
        "    p = problems.make(*key, 3, 0)\n"
        "    print(p.digest, p.cotangent.sum(axis=0)[0, 0].hex())"
    )
    # numpy warns where a machine has no such feature to switch off; the bits are the point here.
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=Path(problems.__file__).parents[2],
    )
    keys = [*PINNED, ("logspec(1e4)", 130), ("wishart(0.3)", 129)]
    here = [problems.make(*key, 3, 0) for key in keys]
    expected = [f"{p.digest} {p.cotangent.sum(axis=0)[0, 0].hex()}" for p in here]
    assert done.stdout.splitlines() == expected


@pytest.mark.parametrize(("name", "size"), CASES)
def test_a_batch_is_a_prefix_of_a_larger_batch(name, size):
    large, small = make(name, size, 34), make(name, size, 2)
    np.testing.assert_array_equal(large.master[:2], small.master)
    np.testing.assert_array_equal(large.cotangent[:2], small.cotangent)
    generator, parameters = problems.parse(name)[0]
    last = generator.call(size, Streams(problems.canonical(name), size, [33], 0), **parameters)
    np.testing.assert_array_equal(last[0], large.master[33])


@pytest.mark.parametrize(("name", "size"), CASES)
def test_matrices_are_symmetric_positive_semidefinite_and_read_only(name, size):
    p = make(name, size, 3)
    assert p.name == name
    assert p.master.shape == p.cotangent.shape == (3, size, size)
    assert p.digest == hashlib.sha256(p.master.tobytes()).hexdigest()[:16]
    np.testing.assert_array_equal(p.master, p.master.swapaxes(1, 2))
    np.testing.assert_array_equal(p.cotangent, p.cotangent.swapaxes(1, 2))
    np.testing.assert_allclose(np.linalg.norm(p.cotangent, axis=(1, 2)), 1, rtol=1e-14)
    w = np.linalg.eigvalsh(p.master)
    assert (w[:, 0] >= -1e-14 * w[:, -1]).all()
    with pytest.raises(ValueError, match="read-only"):
        p.master[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        p.cotangent[0, 0, 0] = 1


@pytest.mark.parametrize("name", ["wishart", "logspec", "dead_channels", "near_identity"])
def test_seed_and_index_give_different_matrices(name):
    first, other = problems.make(name, 8, 2, 0), problems.make(name, 8, 2, 1)
    assert not np.array_equal(first.master[0], first.master[1])
    assert not np.array_equal(first.master[0], other.master[0])
    assert not np.array_equal(first.cotangent[0], other.cotangent[0])


def test_the_cotangent_is_not_made_of_the_numbers_of_the_matrix():
    p = problems.make("near_identity", 16, 1, 0)
    noise = (p.master[0] - np.eye(16)).ravel()
    assert abs(noise @ p.cotangent[0].ravel()) / np.linalg.norm(noise) < 0.3


def test_numbers_look_normal():
    x = Streams("any", 1, range(2), 0).normal(50_000)
    assert abs(x.mean()) < 0.01
    assert abs(x.var() - 1) < 0.02
    assert abs((x**4).mean() - 2.9) < 0.1  # 3 - 1.2 / 12 for twelve uniforms
    assert np.array_equal(x * 2.0**49, np.rint(x * 2.0**49))
    assert abs(np.corrcoef(x)[0, 1]) < 0.02


def test_uniforms_integers_and_subsets_stay_in_range():
    rng = Streams("any", 1, range(3), 0)
    u, i, s = rng.uniform(1000), rng.integers(7, 1000), rng.subset(20, 30)
    assert u.min() >= 0
    assert u.max() < 1
    assert set(i.ravel()) == set(range(7))
    assert all(len(set(row)) == 20 and set(row) <= set(range(30)) for row in s.tolist())
    assert set(Streams("any", 1, [0], 0).subset(5, 5)[0]) == set(range(5))


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40))
def test_sums_run_from_first_to_last(values):
    total = values[0]
    for value in values[1:]:
        total = total + value
    assert spectra.sequential_sum(np.array(values)) == total


# What the names promise


@pytest.mark.parametrize("wanted", ["1e1", "1e4", "1e8", "1e12"])
@pytest.mark.parametrize("size", [2, 33, 128])
def test_logspec_has_the_condition_of_its_name(wanted, size):
    # Rounding moves the small end by 1e-16 of the large one.
    assert condition(f"logspec({wanted})", size) == pytest.approx(float(wanted), rel=1e-3)


def test_spectra_follow_their_formulas():
    assert spectra.logspaced(5, 1e4) == (1.0, 0.1, 0.01, 0.001, 0.0001)
    assert spectra.logspaced(1, 1e4) == (1.0,)
    assert spectra.powers(4, 2.0) == (1.0, 0.25, 1 / 9, 0.0625)
    tied = spectra.clustered(7, 3, 0.01, 1e2)
    assert tied == pytest.approx([1, 1.01, 1.02, 0.1, 0.101, 0.01, 0.0101])
    assert len(set(spectra.clustered(8, 4, 0.0, 1e2))) == 4


@settings(max_examples=25)
@given(st.integers(1, 40), st.floats(1, 1e6), st.integers(0, 1000))
def test_a_rotation_keeps_the_spectrum(n, kappa, seed):
    values = np.array(spectra.logspaced(n, kappa))
    a = spectra.rotate(values, Streams("any", n, [0], seed))[0]
    np.testing.assert_allclose(np.linalg.eigvalsh(a)[::-1], values, atol=1e-13)


def test_large_matrices_are_turned_in_many_directions():
    # Each reflection adds a symmetric matrix of rank two to the diagonal one.
    for n, directions in ((64, 4), (128, 16), (256, 32)):
        values = np.linspace(1, 2, n)
        turned = spectra.rotate(values, Streams("any", n, [0], 0))[0] - np.diag(values)
        assert np.linalg.matrix_rank(turned, tol=1e-9) == 2 * directions


def test_the_covariance_is_the_textbook_one():
    x = Streams("any", 5, range(2), 0).normal(9, 5)
    expected = np.stack([np.cov(one.T, bias=True) for one in x])
    np.testing.assert_allclose(spectra.gram(x), expected, atol=1e-14)


def test_a_gram_matrix_is_neither_centred_nor_divided():
    p = problems.make("gram", 6, 2, 0)
    x = Streams(p.name, 6, range(2), 0).normal(6, 6)
    np.testing.assert_allclose(p.master, x.swapaxes(1, 2) @ x, atol=1e-13)


def test_a_ridge_moves_every_eigenvalue_by_the_same():
    plain, moved = (problems.make(t, 8, 3, 0).master for t in ("wishart", "wishart|ridge(0.5)"))
    np.testing.assert_array_equal(moved, plain + 0.5 * np.eye(8))


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("wishart(0.5)", 31),
        ("wishart(0.766)", 48),
        ("wishart(1)", 63),
        ("wishart(2)", 64),
        ("gram", 64),
        ("rankdef", 32),
        ("power_null", 48),
        ("relu_features", 48),
        ("dead_channels", 20),
        ("dead_channels(0.25)", 48),
        ("convfeat", 48),
        ("pinned", 21),
        ("pooled_features(49)", 48),
        ("pooled_features(65)", 64),
        ("pooled_features(2)", 1),
    ],
)
def test_the_rank_is_as_promised(name, rank):
    w = np.linalg.eigvalsh(problems.make(name, 64, 2, 0).master)
    assert ((w > 1e-13 * w[:, -1:]).sum(axis=1) == rank).all()


def test_dead_channels_are_exactly_zero_and_scattered():
    a = problems.make("dead_channels(0.7)", 64, 4, 0).master
    dead = ~a.any(axis=2)
    assert (dead.sum(axis=1) == 44).all()
    changes = np.count_nonzero(np.diff(dead.astype(int), axis=1), axis=1)
    assert (changes > 10).all()  # one block would have one or two
    assert len({tuple(row) for row in dead.tolist()}) == 4


def test_spikes_stand_above_the_tie():
    w = np.linalg.eigvalsh(problems.make("spiked", 16, 1, 0).master[0])
    np.testing.assert_allclose(w[-5:], [1, 10, 20, 50, 100], rtol=1e-12)


@pytest.mark.parametrize("kappa", ["1e2", "1e6", "1e10"])
@pytest.mark.parametrize("size", [3, 16, 64])
def test_the_exact_root_squares_to_the_matrix_without_rounding(kappa, size):
    p = problems.make(f"exact_root({kappa})", size, 2, 0)
    y = synthetic.known_root(size, Streams(p.name, size, range(2), 0), float(kappa))
    units = (y * 2.0**25).astype(np.int64)
    np.testing.assert_array_equal(units * 2.0**-25, y)
    np.testing.assert_array_equal((units @ units).astype(np.float64) * 2.0**-50, p.master)
    assert (units @ units).max() < 2**53
    w = np.linalg.eigvalsh(y)
    np.testing.assert_allclose((w[:, -1] / w[:, 0]) ** 2, float(kappa), rtol=0.05)


# What its docstring states: rank, condition of the range, share of the largest eigenvalue, and
# exp(entropy), of a median matrix; beside them what real features have (random convolutions).
POOLED = {
    (64, 49): (48, 2e3, 0.24, 16),  # real: 48, 1.5e3, 0.16, 22
    (64, 196): (64, 4e2, 0.23, 21),  # real: 64, 1.5e2, 0.14, 34
    (256, 49): (48, 2e2, 0.25, 16),
    (256, 196): (195, 1.2e4, 0.23, 31),  # real: 195, 2e5, 0.24, 30
    (256, 784): (256, 3e3, 0.22, 43),  # real: 256, 7e3, 0.23, 47
    (512, 196): (195, 2e3, 0.23, 34),
}


@pytest.mark.parametrize(("size", "positions"), POOLED)
def test_pooled_features_have_the_spectrum_that_is_documented(size, positions):
    rank, kappa, top, effective = POOLED[size, positions]
    w = np.linalg.eigvalsh(problems.make(f"pooled_features({positions})", size, 3, 0).master)
    found = []
    for values in w:
        live = values[values > 1e-13 * values[-1]]
        share = live / live.sum()
        entropy = -(share * np.log(share)).sum()
        found.append((len(live), live[-1] / live[0], share[-1], np.exp(entropy)))
    median = np.median(found, axis=0)
    assert median[0] == rank
    assert kappa / 2 < median[1] < kappa * 2
    assert median[2] == pytest.approx(top, rel=0.2)
    assert median[3] == pytest.approx(effective, rel=0.2)


def test_neighbouring_positions_of_pooled_features_are_alike_and_channels_are_rectified():
    """Taken apart with numpy's own functions: fields, mixture, normalisation, rectifier."""
    name, n, positions = "pooled_features(positions=36, noise=0.3)", 8, 36
    rng = Streams(name, n, [0], 0)
    kernel = np.array([1, 4, 6, 4, 1]) / 16  # (1, 2, 1) / 4 twice
    raw = rng.normal(64, 10, 10)[0]
    smooth = np.array([[np.convolve(row, kernel, "valid") for row in field] for field in raw])
    smooth = np.array([[np.convolve(c, kernel, "valid") for c in f.T] for f in smooth])
    fields = smooth.swapaxes(1, 2).reshape(64, positions)
    fields = (fields - fields.mean(1, keepdims=True)) / fields.std(1, keepdims=True)
    amplitude = np.arange(1, 65) ** -0.75
    weights = rng.normal(n, 64)[0] * amplitude / np.linalg.norm(amplitude)
    z = 0.3 * rng.normal(n, positions)[0] + weights @ fields
    x = np.maximum((z - z.mean(1, keepdims=True)) / z.std(1, keepdims=True), 0)

    a = problems.make(name, n, 1, 0).master[0]
    np.testing.assert_allclose(a, np.cov(x, bias=True), atol=1e-12)
    along = [np.corrcoef(f[:-1], f[1:])[0, 1] for f in smooth.swapaxes(1, 2)[:, 0]]
    assert np.median(along) > 0.5


def test_more_noise_makes_pooled_features_flatter():
    kappas = [condition(f"pooled_features(400, noise={x})", 64) for x in (0.1, 0.3, 1, 10)]
    assert kappas == sorted(kappas, reverse=True)
    assert kappas[0] > 20 * kappas[-1]


def test_a_modifier_starts_from_the_same_matrices():
    plain, scaled = (problems.make(t, 8, 3, 0) for t in ("wishart", "wishart|scale(factor=0.125)"))
    np.testing.assert_array_equal(scaled.master, plain.master / 8)
    np.testing.assert_array_equal(scaled.cotangent, plain.cotangent)


@pytest.mark.parametrize("bad", ["singular", "zero", "ill_conditioned", "tiny", "huge"])
def test_one_bad_matrix_stands_where_it_should(bad):
    plain = problems.make("wishart", 8, 4, 0).master
    for batch in (1, 4):
        mixed = problems.make(f"wishart|mixed_batch({bad}, position=2)", 8, batch, 0).master
        changed = (mixed != plain[:batch]).any(axis=(1, 2))
        assert changed.tolist() == [False, False, True, False][:batch]
    w = np.linalg.eigvalsh(mixed[2])
    usual = np.linalg.eigvalsh(plain[2])[-1]
    assert {
        "singular": abs(w[3]) < 1e-15 < w[4],
        "zero": not mixed[2].any() and not np.signbit(mixed[2]).any(),
        "ill_conditioned": 0.99e-12 < w[0] / max(w[-1], 1e-300) < 1.01e-12,
        "tiny": w[-1] < 1.01e-8 * usual,
        "huge": w[-1] > 0.99e8 * usual,
    }[bad]


# Real data


def test_pinned_is_the_stored_matrix():
    a = problems.make("pinned", 64, 2, 0).master
    assert (~a.any(axis=2)).sum(axis=1).tolist() == [43, 43]
    np.testing.assert_array_equal(a, a.astype(np.float32))
    np.testing.assert_array_equal(a[0], a[1])


def test_every_allowed_image_decodes_to_its_pin():
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    for image in ("astronaut", "china", "logo", "stereo_motorcycle", "text"):
        x = real.grey(image)
        assert x.ndim == 2
        assert 0 <= x.min() < x.max() <= 1.0 + 1e-15
    assert set(real.Image.__args__) <= set(real.DIGESTS)


def test_data_that_decodes_otherwise_is_refused(monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.setitem(real.DIGESTS, "coins", "0" * 16)
    with pytest.raises(Unsupported, match="decodes 'coins' to other values"):
        real.grey("coins")


@pytest.mark.parametrize(
    ("text", "size", "module", "package"),
    [
        ("patchcov(moon)", 9, "skimage", "scikit-image"),
        ("patchcov(flower)", 9, "sklearn", "scikit-learn"),
    ],
)
def test_a_missing_package_comes_with_its_install_line(monkeypatch, text, size, module, package):
    for name in [m for m in sys.modules if m.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(NotInstalled, match=rf"needs {package}: pip install 'mssbench\[data\]'"):
        problems.make(text, size, 1, 0)


def test_raw_tables_are_graded_and_standardised_ones_are_not():
    pytest.importorskip("sklearn")
    raw, scaled = (
        problems.make("tabular", 30, 2, 0),
        problems.make("tabular(zscore=true)", 30, 2, 0),
    )
    w = np.linalg.eigvalsh(raw.master)
    assert (w[:, -1] / w[:, 0] > 1e11).all()
    single = np.linalg.eigvalsh(problems.cast(raw.master, "float32"))
    assert (single[:, 0] > 0).all()
    np.testing.assert_allclose(np.diagonal(scaled.master, 0, 1, 2), 1, atol=0.8)


# Casting


@given(st.lists(st.floats(-1e38, 1e38), min_size=1, max_size=20))
def test_bfloat16_rounds_to_the_nearest_even(values):
    x = np.array([[v if abs(v) > 1e-37 else 1.0 for v in values]])
    got = problems.cast(x[None], "bfloat16")[0]
    mantissa, _ = np.frexp(got)
    assert (mantissa * 256 == np.rint(mantissa * 256)).all()
    m, e = np.frexp(x)
    np.testing.assert_array_equal(got, np.ldexp(np.rint(m * 256), e - 8))


def test_bfloat16_agrees_with_torch_where_one_rounding_is_enough():
    torch = pytest.importorskip("torch")
    # Every float32 pattern class: those values reach float64 unchanged, so torch rounds once.
    bits = Streams("any", 1, [0], 0).integers(1 << 31, 20_000)[0].astype(np.uint32)
    x = bits.view(np.float32)
    x = x[np.isfinite(x) & (x < 3.38e38)]
    expected = torch.tensor(x).bfloat16().double().numpy()
    np.testing.assert_array_equal(
        problems.cast(x.astype(np.float64)[None, None], "bfloat16")[0, 0], expected
    )
    tiny = np.arange(1, 400, dtype=np.float64) * 2.0**-136  # subnormal
    expected = torch.tensor(tiny.astype(np.float32)).bfloat16().double().numpy()
    np.testing.assert_array_equal(problems.cast(tiny[None, None], "bfloat16")[0, 0], expected)


def test_bfloat16_breaks_ties_towards_even():
    odd = np.arange(257.0, 512.0, 2.0)  # nine bits: halfway between two neighbours
    below, above = odd - 1, odd + 1
    expected = np.where(below % 4 == 0, below, above)
    np.testing.assert_array_equal(problems.cast(odd[None, None], "bfloat16")[0, 0], expected)


def test_bfloat16_rounds_once():
    # Through float32 this value would become a tie first, and then go to the even neighbour below.
    x = np.full((1, 1, 1), 1 + 2.0**-8 + 2.0**-40)
    assert problems.cast(x, "bfloat16")[0, 0, 0] == 1 + 2.0**-7


@pytest.mark.parametrize("precision", ["float64", "float32", "tf32", "bfloat16", "float16"])
def test_a_cast_is_symmetric_idempotent_and_leaves_its_input(precision):
    a = problems.make("logspec(1e4)", 16, 2, 0).master  # read-only
    once = problems.cast(a, precision)
    assert once.dtype == np.float64
    np.testing.assert_array_equal(once, once.swapaxes(1, 2))
    np.testing.assert_array_equal(problems.cast(once, precision), once)
    u = {"float64": 0, "float32": 2**-24, "tf32": 2**-24, "bfloat16": 2**-8, "float16": 2**-11}
    assert np.abs(once - a).max() <= u[precision] * np.abs(a).max()
    assert precision == "float64" or (once != a).any()


def test_a_precision_that_cannot_hold_the_values_says_so():
    one = np.ones((1, 2, 2))
    with pytest.raises(Unsupported, match=r"float16 cannot hold the largest entry, 1e\+05"):
        problems.cast(one * 1e5, "float16")
    for precision in ("float32", "tf32", "bfloat16", "float16"):
        with pytest.raises(
            Unsupported, match=rf"{precision} cannot hold the largest entry, 1e\+300"
        ):
            problems.cast(one * 1e300, precision)
    for precision in ("float32", "tf32", "bfloat16"):
        with pytest.raises(
            Unsupported, match=rf"{precision} cannot hold the largest entry, 3.4e\+38"
        ):
            problems.cast(one * 3.4028235677973366e38, precision)
    with pytest.raises(
        Unsupported, match="float16 rounds a matrix to zero: its largest entry is 1e-08"
    ):
        problems.cast(np.concatenate([one, one * 1e-8]), "float16")
    assert not problems.cast(np.zeros((1, 2, 2)), "float16").any()
    with pytest.raises(RegistryError, match="Unknown precision 'float8'"):
        problems.cast(one, "float8")
