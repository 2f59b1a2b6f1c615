"""The export to LaTeX: what a paper would show, escaped, and complete."""

import re

import pytest
from helpers.tables import frame, row

from mssbench.export import Exported, export
from mssbench.export.latex import _power, escaped
from mssbench.results.labels import with_labels
from mssbench.results.views import Rows

HARD = "logspec(condition=1e6)"


def step(forward, seconds, error, *, problem="wishart(ratio=2)", condition=40.0, **more):
    more.setdefault("backward", "loewner")
    return row(
        seconds,
        phase="step",
        forward=forward,
        problem=problem,
        condition=condition,
        root=error,
        gradient=error,
        **more,
    )


def latex(*rows, name="a run", facts=None) -> str:
    return export(Exported(name, Rows(with_labels(frame(*rows))), facts or {}, {}), "latex")


def cells(text: str, method: str) -> list[str]:
    (line,) = [x for x in text.splitlines() if x.startswith(f"{method} +")]
    return [cell.strip() for cell in line.removesuffix(r"\\").split("&")]


def test_a_table_has_times_and_the_worst_error_on_each_kind_of_matrix() -> None:
    text = latex(
        step("eigh", 2e-3, 1.4e-6),
        step("eigh", 8e-3, 3e-2, problem=HARD, condition=1e6),
        step("svd", 1e-3, 2e-6),
        step("svd", 1e-3, 0.7, problem=HARD, condition=1e6, status="inaccurate"),
    )
    assert cells(text, "eigh")[1:] == ["4.00", r"$1\times10^{-6}$", r"$3\times10^{-2}$"]
    assert cells(text, "svd")[-1] == r"\textit{wrong} ($7\times10^{-1}$)"
    assert r"\multicolumn{2}{c}{gradient error}" in text
    assert "easy $\\kappa$ 40" in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 1


def test_what_has_no_error_says_why() -> None:
    text = latex(step("eigh", 2e-3, 1e-6), step("svd", 1e-3, None, status="nonfinite"))
    assert cells(text, "svd")[-1] == "nan"


@pytest.mark.parametrize(("seconds", "due"), [(2e-3, "2.00"), (1.234, "1234"), (5e-8, "0.0000500")])
def test_a_time_has_three_digits_and_never_an_exponent_of_a_programming_language(
    seconds: float, due: str
) -> None:
    assert cells(latex(step("eigh", seconds, 1e-6)), "eigh")[1] == due


def test_an_error_that_no_reference_can_judge_is_not_called_wrong() -> None:
    doubted = {"flags": "unverified", "reference_error": 0.5, "condition": 1e9, "problem": HARD}
    text = latex(
        step("eigh", 2e-3, 1e-6),
        step("eigh", 2e-3, 0.4, **doubted),
        step("svd", 2e-3, 1e-6),
        step("svd", 2e-3, None, status="nonfinite", **doubted),
    )
    assert cells(text, "eigh")[2:] == [r"$1\times10^{-6}$", "?"]
    assert cells(text, "svd")[2:] == [r"$1\times10^{-6}$", "nan"]
    assert "with ?, no reference is exact enough to tell" in text


def test_a_method_that_computes_in_another_precision_says_so() -> None:
    text = latex(step("eigh", 2e-3, 1e-6), step("svd", 1e-3, 1e-9, computed_in="float64"))
    assert r"svd + loewner (computed in float64) & 1.00" in text


def test_times_of_a_busy_machine_have_a_warning_in_the_file_and_in_every_caption() -> None:
    rows = [step("eigh", 2e-3, 1e-6), step("eigh", 3e-3, 1e-6, size=64)]
    environment = {"e" * 12: {"cores": {"granted": 2}}}
    why = "was busy when the run began: load 9.0 on 2 cores. These times cannot be compared."
    for load, warned in ((9.0, 2), (0.5, 0)):
        facts = {"environments": environment, "runs": {"r" * 12: {"load_start": [load] * 3}}}
        lines = latex(*rows, facts=facts).splitlines()
        captions = [line for line in lines if line.startswith(r"\caption")]
        assert len(captions) == 2
        assert sum(why in line for line in captions) == warned
        assert (f"% Warning: The machine {why}" in lines) == bool(warned)


def test_a_table_with_rows_of_two_gpus_names_both_in_its_caption() -> None:
    gpus = {
        name: {"gpus": [{"name": f"NVIDIA {name}"}], "driver": 580} for name in ("H100", "H200")
    }
    identity = {"code_hash": "c0de", "run_id": "r" * 12}
    rows = [
        step(method, 2e-3, 1e-6, device="cuda", identity=identity | {"environment": name})
        for method, name in zip(("eigh", "svd"), gpus, strict=True)
    ]
    text = latex(*rows, facts={"environments": gpus, "runs": {}})
    why = "some are of NVIDIA H100 (driver 580), others of NVIDIA H200 (driver 580)"
    assert text.count(why) == 2
    assert any(why in line for line in text.splitlines() if line.startswith(r"\caption"))


def test_a_time_that_varies_much_is_marked_and_the_caption_says_so() -> None:
    text = latex(step("eigh", 2e-3, 1e-6) | {"noise": "unstable"}, step("svd", 3e-3, 1e-6))
    assert cells(text, "eigh")[1] == r"$\sim$2.00"
    assert cells(text, "svd")[1] == "3.00"
    assert r"Times with $\sim$ vary by more than 30\,\%." in text
    assert r"\sim" not in latex(step("eigh", 2e-3, 1e-6))


def test_a_backward_has_the_name_by_which_it_can_be_called() -> None:
    text = latex(
        step("newton_schulz", 2e-3, 1e-6, backward="lyapunov_newton_schulz", iterations=5),
        step("newton_schulz", 3e-3, 1e-6, backward="lyapunov_newton_schulz", iterations=9),
        step("eigh", 3e-3, 1e-6),
    )
    assert r"newton\_schulz 5 + lyapunov\_newton\_schulz & 2.00" in text
    assert r"newton\_schulz 9 + lyapunov\_newton\_schulz & 3.00" in text
    assert "eigh + loewner & 3.00" in text


def test_a_run_without_times_says_why_it_has_no_table() -> None:
    text = latex(step("eigh", None, None, status="not_installed"))
    assert "no row has a time" in text
    assert all(line.startswith("%") for line in text.splitlines())


def test_every_line_of_a_table_has_as_many_cells_as_columns() -> None:
    text = latex(
        step("eigh", 2e-3, 1e-6), step("svd", 2e-3, 1e-6, problem=HARD, condition=1e6), name="x_y"
    )
    (columns,) = re.findall(r"\\begin\{tabular\}\{(l r*|l[r]+)\}", text)
    rows = [x for x in text.splitlines() if x.endswith(r"\\") and "multicolumn" not in x]
    assert {x.count("&") + 1 for x in rows} == {len(columns)}
    assert r"run x\_y" in text
    assert r"\label{tab:x-y-step-sqrt-float32-cpu-16-64}" in text


@pytest.mark.parametrize(
    ("error", "due"),
    [
        (2e-4, r"$2\times10^{-4}$"),
        (9.6e-5, r"$1\times10^{-4}$"),
        (0.0, "0"),
        (3.0, r"$3\times10^{0}$"),
        (5e-324, r"$5\times10^{-324}$"),
        (float("inf"), "inf"),
    ],
)
def test_a_number_has_one_digit_and_a_power_of_ten(error: float, due: str) -> None:
    assert _power(error) == due


def test_no_text_can_be_a_command_of_latex() -> None:
    hostile = "\\input{/etc/passwd} 100% a_b #1 $x$ ~^ κ 中 <a|b>"
    assert escaped(hostile) == (
        r"\textbackslash{}input\{/etc/passwd\} 100\% a\_b \#1 \$x\$ "
        r"\textasciitilde{}\textasciicircum{} $\kappa$ ? "
        r"\textless{}a\textbar{}b\textgreater{}"
    )
