"""Every word that a command prints is explained in docs/reading.md.

Words come from their single sources in the code: enumerations, columns, flags, and the heads of
tables, which are read from the source. A table of docs/reading.md below a comment `<!-- words: NAME
-->` must have exactly the words of the source NAME in its first column. What the commands print of
committed runs, and the texts of the modules that print, must consist of words of that page.
"""

import ast
import csv
import html
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import chdir
from dataclasses import fields
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from helpers.root import ROOT
from house.test_pages import prose
from rich.table import Table

import mssbench
from mssbench import arrays, problems, results
from mssbench.ab import statistics as paired
from mssbench.ab import verdicts as ab_verdicts
from mssbench.analysis import (
    advice,
    best_rates,
    blocks,
    claim_texts,
    claims,
    conclusions,
    decision,
    kinds,
    left_out,
    naming,
    pareto,
    training_claims,
    training_sentences,
    training_sides,
    trust,
)
from mssbench.cli import ab, doctor, listing, main, measuring, notebook, on_slurm, run, selftest
from mssbench.cli import check as cli_check
from mssbench.cli import claims as cli_claims
from mssbench.cli import compare as cli_compare
from mssbench.cli import merge as cli_merge
from mssbench.cli import pareto as cli_pareto
from mssbench.cli import recommend as cli_recommend
from mssbench.cli import show as cli_show
from mssbench.cli import test as cli_test
from mssbench.cli.ab import Inconclusive
from mssbench.cli.show import View
from mssbench.compare import check, describe, judge, judgement, rows, tables, times, verdict
from mssbench.console import blocks as console_blocks
from mssbench.console import claims as console_claims
from mssbench.console import (
    comparison,
    epilogue,
    live,
    progress,
    recommendation,
    summary,
    training_progress,
)
from mssbench.console import (
    decision as console_decision,
)
from mssbench.console import pareto as console_pareto
from mssbench.console import training_claims as console_training_claims
from mssbench.console import trainings as console_trainings
from mssbench.console.statuses import STYLE
from mssbench.console.terminal import plain
from mssbench.engines import gpus
from mssbench.errors import ExitCode
from mssbench.machine import findings
from mssbench.methods import method as method_
from mssbench.methods import registry
from mssbench.records import cell, noise, units
from mssbench.records.measurement import Status
from mssbench.records.noise import Noise
from mssbench.records.schema import BY_NAME, COLUMNS
from mssbench.records.summary import MEASURING
from mssbench.records.timing import StopReason
from mssbench.report.trainings import sentences as report_training_sentences
from mssbench.report.trainings.quantities import PROBED
from mssbench.results import baselines, merge, parts
from mssbench.results.labels import LABELS, PHASES
from mssbench.run import signals, training_merge
from mssbench.run.slurm import driver as slurm_driver
from mssbench.selftest.checks import CheckOutcome
from mssbench.suite import claims as suite_claims
from mssbench.suite import forecast, select, shipped, suite

OTHER_OUTCOMES = (noise.ABOVE_CEILING, noise.UNVERIFIED, noise.OTHER_PRECISION)
PAGE = (ROOT / "docs" / "reading.md").read_text()
# Their outputs are printed in seconds; those of the others are exhaustive tests.
QUICKLY = ("cpu-2core-quick", "cpu-2core-paper_isqrt_2018")
RUNS = sorted(path.parent for path in (ROOT / "results").rglob("table.csv"))
EVERY_RUN = pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path, id=path.name, marks=[] if path.name in QUICKLY else [pytest.mark.exhaustive]
        )
        for path in RUNS
    ],
)
WORD = re.compile(r"[A-Za-z]+(?:[-'][a-z]+)*")


def explained(name: str) -> list[str]:
    """The words in the first column of a table of the page, see the module."""
    after = PAGE.partition(f"<!-- words: {name} -->\n")[2].lstrip()
    lines = after.partition("\n\n")[0].splitlines()[2:]
    found = []
    for line in lines:
        first = html.unescape(line.replace("\\|", "&#124;")).split(" | ")[0]
        pairs = re.findall(r"`([^`]+)`|<code>(.+?)</code>", first)
        found += [code or tagged for code, tagged in pairs]
    return found


# What the source of a module says.


@cache
def tree(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def functions(module: ModuleType, *names: str) -> Iterator[ast.FunctionDef]:
    """The functions and methods of a module with these names, or all."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef) and (not names or node.name in names):
            yield node


def texts(node: ast.AST) -> set[str]:
    constants = (x.value for x in ast.walk(node) if isinstance(x, ast.Constant))
    return {text for text in constants if isinstance(text, str)}


def heads(module: ModuleType, *names: str) -> set[str]:
    """The heads that some functions give to the columns of their tables."""
    found = set()
    for function in functions(module, *names):
        loops = {
            loop.target.id: texts(loop.iter)
            for loop in ast.walk(function)
            if isinstance(loop, ast.For) and isinstance(loop.target, ast.Name)
        }
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "add_column":
                for argument in call.args[:1]:
                    found |= {text.strip() for text in texts(argument)}
                    if isinstance(argument, ast.Name):
                        found |= loops.get(argument.id, set())
    return found - {"", "size"}  # the head of `size` is n


def keys(module: ModuleType, *names: str) -> set[str]:
    """The keys of the records that some functions make; each record has several keys."""
    records = [
        node
        for function in functions(module, *names)
        for node in ast.walk(function)
        if isinstance(node, ast.Dict) and len(node.keys) > 1
    ]
    return {text for record in records for key in record.keys if key for text in texts(key)}


def new_keys(module: ModuleType, *names: str) -> set[str]:
    """The keys of the records that some functions make, without those that are columns."""
    return keys(module, *names) - {*COLUMNS}


def template(node: ast.AST) -> str:
    """A text with "…" for what is filled in; empty if the node is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) or "…" for part in node.values)
    return ""


def templates(module: ModuleType, *names: str) -> set[str]:
    """The texts with a blank in some functions, or in the whole module: sentences and titles.

    Left out are docstrings, annotations (the help of options), errors, and names of styles.
    """
    found = set()
    bodies = [function.body for function in functions(module, *names)]
    if not names:  # then also the constants of the module
        bodies.append([x for x in tree(module).body if isinstance(x, ast.Assign)])
    for body in bodies:
        for statement in body:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue  # a docstring
            for node in without_errors(statement):
                text = template(node)
                if re.search(r"\w \w|\w …|… \w|^ \w|: $", text) and not STYLES.fullmatch(text):
                    found.add(text)
    return found


STYLES = re.compile(r"(bold|dim|italic) ?\S*")


def without_errors(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Raise | ast.arguments):
        return
    yield node
    if not isinstance(node, ast.JoinedStr):
        for child in ast.iter_child_nodes(node):
            yield from without_errors(child)


def marks() -> set[str]:
    """The marks of the table that decides: symbols, and single characters in its source."""
    module = texts(tree(console_decision)) | texts(tree(kinds))
    symbols = {c for text in module for c in text if ord(c) in units.ASCII}
    single = {t for t in texts(tree(console_decision)) if re.fullmatch(r"[^\w\s().,:;]", t)}
    return symbols | single


def list_words() -> set[str]:
    with chdir(ROOT):
        records = [record for kind in listing.KINDS for record in listing.listing(kind, [])]
    return {key for record in records for key in record}


def values(*kinds_: Any) -> set[str]:
    return {str(word.value) for kind in kinds_ for word in kind}


SOURCES: Mapping[str, Callable[[], Iterable[str]]] = {
    "heads-decision": lambda: heads(console_decision, "_table"),
    "kinds": lambda: kinds.ORDER,
    "papers": lambda: {name for name, _ in naming._PAPERS.values()},
    "marks": marks,
    "groups": lambda: templates(console_decision, "_groups"),
    "heads-show": lambda: {*LABELS, *map(error_heading, ("root_error", "gradient_error"))},
    "heads-pareto": lambda: heads(console_pareto, "_table"),
    "heads-trainings": lambda: {*console_trainings.HEADS},
    "heads-trainings-more": lambda: {*console_trainings.MORE_HEADS},
    "heads-rates": lambda: {*console_trainings.RATE_HEADS},
    "probes": lambda: {probe.title for probe in PROBED},
    "standings": lambda: values(pareto.Standing),
    "heads-check": lambda: heads(comparison, "_tallies"),
    "last-line": lambda: re.findall(r"(\w+)=", verdict.last_line(verdict.Outcome.PASS, {}, 0)),
    "heads-comparison": lambda: heads(comparison, "_lines"),
    "verdicts": lambda: values(verdict.Verdict),
    "outcomes": lambda: values(verdict.Outcome),
    "inconclusive": lambda: values(Inconclusive),
    "claim-verdicts": lambda: values(claims.ClaimVerdict),
    "training-claim-verdicts": lambda: values(training_claims.TrainingClaimVerdict),
    "lists": list_words,
    "dry-run": lambda: keys(run, "forecast", "_kernels"),
    "doctor": lambda: keys(doctor, "report", "_probe_rows") | keys(findings, "_finding"),
    "heads-selftest": lambda: heads(selftest, "table"),
    "selftest": lambda: values(CheckOutcome),
    "test": lambda: keys(cli_test, "report"),
    "baselines": lambda: keys(baselines, "known"),
    "spent": lambda: {*MEASURING, *(texts(next(functions(summary, "closing"))) & {"overhead"})},
    "statuses": lambda: values(Status),
    "other-outcomes": lambda: {*STYLE, *OTHER_OUTCOMES} - values(Status),
    "flags": lambda: noise.MEANING,
    "noise": lambda: values(Noise),
    "phases": lambda: PHASES,
    "clocks": lambda: suite_claims._CLOSED["clock"],
    "caches": lambda: suite_claims._CLOSED["cache"],
    "functions": lambda: {*method_.FUNCTIONS, cell.APPLIED, *cell.OTHER_FUNCTIONS},
    "precisions": lambda: arrays.STORAGE,
    "stop": lambda: values(StopReason),
    "bounds": lambda: words_of(BY_NAME["bound"].meaning.partition(": ")[2]) - {"or"},
    "displays": lambda: comparison.DISPLAYS,
    "efforts": lambda: suite.EFFORTS,
    "json-run": lambda: new_keys(run, "command"),
    "json-dry-run": lambda: new_keys(forecast),
    "json-show": lambda: (
        new_keys(cli_show, "show_data", "_block")
        | new_keys(conclusions, "as_data")
        | new_keys(kinds, "data")
    ),
    "json-pareto": lambda: new_keys(pareto, "as_data", "_record") | new_keys(cli_pareto, "data"),
    "json-claims": lambda: new_keys(cli_claims, "_record"),
    "json-training-claims": lambda: {
        field.name
        for record in (training_claims.TrainingVerdict, training_sides.BestRate)
        for field in fields(record)
    },
    "json-verdicts": lambda: {
        key
        for module in (cli_check, cli_compare, ab, judgement)
        for key in new_keys(module, "data", "judgement_data")
    },
    "json-recommend": lambda: new_keys(cli_recommend, "data", "_method"),
    "json-machine": lambda: new_keys(doctor, "examine", "_backend") | new_keys(selftest, "data"),
    "json-files": lambda: new_keys(baselines, "save") | new_keys(merge, "merge"),
    "exit-codes": lambda: {str(int(code)) for code in (*ExitCode, main._UNFORESEEN)},
}


def error_heading(column: str) -> str:
    return console_blocks.BlockTable(SimpleNamespace(error=column))._heading()


@pytest.mark.parametrize("name", SOURCES)
def test_the_page_explains_exactly_the_words_of_the_code(name: str) -> None:
    found = explained(name)
    assert found, f"docs/reading.md has no table after <!-- words: {name} -->"
    assert sorted(found) == sorted({*SOURCES[name]()})


def test_every_table_of_words_has_a_source() -> None:
    assert sorted(re.findall(r"<!-- words: (.+) -->", PAGE)) == sorted(SOURCES)


COLUMNS_OF_WORDS = {
    "status": "statuses",
    "flags": "flags",
    "noise": "noise",
    "stop": "stop",
    "bound": "bounds",
    "phase": "phases",
    "clock": "clocks",
    "cache": "caches",
    "function": "functions",
    "precision": "precisions",
}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_the_words_in_a_committed_table_are_explained(path: Path) -> None:
    with (path / "table.csv").open(newline="") as file:
        rows_ = list(csv.DictReader(file))
    for column, name in COLUMNS_OF_WORDS.items():
        found = {word for row in rows_ for word in row[column].split()}
        assert not found - {*explained(name)}, column


def test_the_ascii_of_a_mark_is_what_a_terminal_gets() -> None:
    after = PAGE.partition("<!-- words: marks -->\n")[2].lstrip().partition("\n\n")[0]
    for line in after.splitlines()[2:]:
        mark, ascii_ = (html.unescape(cell_.strip(" `")) for cell_ in line.split(" | ")[:2])
        ascii_ = re.sub(r"</?code>", "", ascii_)
        assert ascii_ == units.ascii_only(mark.strip("| `")), line


def test_the_exit_codes_of_outcomes_are_those_of_the_code() -> None:
    after = PAGE.partition("<!-- words: outcomes -->\n")[2].lstrip().partition("\n\n")[0]
    said = {line.split("`")[1]: int(line.split("|")[-2]) for line in after.splitlines()[2:]}
    assert said == {str(o.value): int(o.exit_code) for o in verdict.Outcome}


# The words of texts.


def words_of(text: str) -> set[str]:
    return {word.lower() for word in WORD.findall(text)}


@cache
def vocabulary() -> set[str]:
    """The words of the page outside of its examples, and names, which the page need not explain."""
    registry.REGISTRIES["forward"].load_plugins()
    registry.REGISTRIES["backward"].load_plugins()
    names = [
        *registry.known("forward"),
        *registry.known("backward"),
        *(name for kind in problems.REGISTRIES.values() for name in kind.names()),
        *shipped.of_runs(),
        *COLUMNS,
        *main.COMMANDS,
        *method_names(),
    ]
    return words_of(html.unescape(prose(PAGE))) | words_of(" ".join(names))


def method_names() -> Iterator[str]:
    """Names of parameters, and of the values that they have."""
    for kind in registry.REGISTRIES:
        for method in registry.known(kind).values():
            for parameter in method.parameters.values():
                yield parameter.describe()


@cache
def printed(path: Path) -> tuple[str, set[str]]:
    """What the commands print of a run, and the heads of all tables."""
    heads_of_tables: set[str] = set()
    add_column = Table.add_column

    def noted(table: Table, header: Any = "", *arguments: Any, **options: Any) -> None:
        heads_of_tables.update(line.strip() for line in str(header).splitlines())
        add_column(table, header, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch, chdir(ROOT):
        patch.setenv("COLUMNS", "1000")
        patch.setattr(Table, "add_column", noted)
        text = "".join(plain(part()) for part in outputs(path.relative_to(ROOT)))
    return text, heads_of_tables


def outputs(path: Path) -> Iterator[Callable[[], Iterable[Any]]]:
    """The outputs of the commands that read a run."""
    yield lambda: run.tables(path)
    yield lambda: cli_show.show(View(path))
    yield lambda: cli_show.show(View(path, ["pair"], ["problem"], "root_error"))
    yield lambda: cli_pareto.show(path, None, everything=True)
    yield lambda: cli_pareto.show(path, None, everything=False)
    if "[[claim]]" in (path / "suite.toml").read_text():
        yield lambda: said_of_claims(path)


def said_of_claims(path: Path) -> Iterator[str]:
    """What `claims` prints but the sentences and sources, which are those of the suites."""
    for finding in cli_claims.examine(results.open(path)):
        yield from [str(finding.verdict), *claim_texts.lines(finding)]


@EVERY_RUN
def test_what_is_printed_of_a_committed_run_consists_of_words_of_the_page(path: Path) -> None:
    text, _ = printed(path)
    assert len(text) > 1000
    frame = mssbench.load(path)
    facts = results.open(path).facts["environments"].values()
    foreign = {*frame["reason"].dropna(), *(str(fact["cpu"]) for fact in facts)}
    for piece in sorted(filter(None, foreign), key=len, reverse=True):
        text = text.replace(piece, " ")
    text = re.sub(r"mssbench[. ].*|\w+=\S+", " ", text)  # commands, calls and parameters
    unknown = words_of(text) - vocabulary()
    assert not unknown, f"docs/reading.md does not explain {sorted(unknown)}"


@EVERY_RUN
def test_a_head_of_a_table_of_a_committed_run_is_explained(path: Path) -> None:
    _, heads_ = printed(path)
    assert {"method", "range"} <= heads_
    data = re.compile(r"n = \d+|κ .*|singular|\w+\(.*\)(\|.*)?|")  # sizes, problems, conditions
    known = {word for name in SOURCES for word in explained(name)}
    known |= {*COLUMNS, *problems.REGISTRIES["problem"].names()}
    assert not {head for head in heads_ if not data.fullmatch(head)} - known


PRINTING = (
    (console_decision, ()),
    (console_blocks, ()),
    (console_claims, ()),
    (claim_texts, ()),
    (console_training_claims, ()),
    (training_progress, ()),
    (best_rates, ()),
    (training_sentences, ()),
    (training_claims, ("_too_few", "_sentences")),
    (
        training_sides,
        ("side_of", "at_shared_settings", "_at_best_rate", "by_seed", "_refuse_unsound"),
    ),
    (console_pareto, ()),
    (console_trainings, ()),
    (report_training_sentences, ()),
    (comparison, ()),
    (epilogue, ()),
    (live, ()),
    (progress, ("__call__", "now", "_print_lines")),
    (recommendation, ()),
    (summary, ()),
    (advice, ()),
    (conclusions, ()),
    (claims, ("_why",)),
    (left_out, ("sentences",)),
    (trust, ()),
    (decision, ()),
    (blocks, ("omissions",)),
    (pareto, ("_why",)),
    (check, ("check",)),
    (describe, ("compare",)),
    (judge, ()),
    (rows, ("by_status", "sentence")),
    (tables, ("changed_code", "changed_parameters", "left_over_remarks", "part_remarks")),
    (times, ()),
    (ab_verdicts, ()),
    (ab, ("tables", "_look", "_null", "_machines", "compare")),
    (run, ("forecast", "_absence", "_kernels", "_next_commands")),
    (measuring, ()),
    (on_slurm, ("measure", "_closed")),
    (slurm_driver, ("open", "step", "_to_submit", "_submit", "join", "_in_words")),
    (gpus, ("described", "left_out", "_runs")),
    (cli_show, ("show", "so_far")),
    (cli_test, ("report",)),
    (notebook, ()),
    (doctor, ("report",)),
    (parts, ("sentence",)),
    (cli_merge, ("lines", "merged", "joined")),
    (cli_claims, ("incomplete",)),
    (training_merge, ("_several_machines",)),
)


@pytest.mark.parametrize(
    ("module", "names"),
    [pytest.param(m, n, id=m.__name__.removeprefix("mssbench.")) for m, n in PRINTING],
)
def test_the_texts_of_a_module_that_prints_consist_of_words_of_the_page(
    module: ModuleType, names: tuple[str, ...]
) -> None:
    found = " ".join(re.sub(r"`.+?`", " ", text) for text in templates(module, *names))
    unknown = words_of(re.sub(r"\w*_\w*|--[\w-]+", " ", found)) - vocabulary()
    assert not unknown, f"docs/reading.md does not explain {sorted(unknown)}"


def test_every_module_that_prints_is_looked_at() -> None:
    console = {path.stem for path in (ROOT / "mssbench" / "console").glob("[!_]*.py")}
    looked_at = {module.__name__.rpartition(".")[2] for module, _ in PRINTING}
    assert console - looked_at == {
        "lists",
        "statuses",
        "terminal",
    }  # they have no words of their own


def word_pairs(text: str) -> set[tuple[str, str]]:
    """Words that stand side by side in a text, with nothing filled in between."""
    found = set()
    for part in re.split(r"…|\d[\d.,e+-]*", text.replace("`", "").replace("*", "")):
        words = [word.lower() for word in WORD.findall(part)]
        found |= {*pairwise(words)}
    return found


@cache
def pairs_of_the_page() -> set[tuple[str, str]]:
    return word_pairs(html.unescape(prose(PAGE)))


@cache
def pairs_of_the_code() -> set[tuple[str, str]]:
    every = {text for module, _ in PRINTING for text in templates(module)}
    # what a text is filled in with: flags, outcomes and the like, and rules of other modules
    filled_in = {*noise.MEANING.values(), *(text for name in SOURCES for text in SOURCES[name]())}
    others = {text for module in (select, paired, signals) for text in templates(module)}
    return {pair for text in every | filled_in | others for pair in word_pairs(text)}


def share(pairs: set[tuple[str, str]], known: set[tuple[str, str]]) -> float:
    return len(pairs & known) / len(pairs)


@pytest.mark.parametrize(
    ("module", "names"),
    [pytest.param(*each, id=each[0].__name__.removeprefix("mssbench.")) for each in PRINTING],
)
def test_a_sentence_that_a_module_prints_stands_on_the_page(
    module: ModuleType, names: tuple[str, ...]
) -> None:
    """At least half of its pairs of words: what is filled in differs, and so may the grammar."""
    for text in sorted(templates(module, *names)):
        pairs = word_pairs(re.sub(r"mssbench .*|--\S+ \S+", "", text))
        if len(pairs) > 1:
            assert share(pairs, pairs_of_the_page()) >= 0.5, f"not explained: {text!r}"


def sentences() -> list[str]:
    """The sentences that the page explains: those in italics, and first columns of some tables."""
    found = re.findall(r"(?<![*\\`])\*([^*|`]+)\*(?![*`])", prose(PAGE))
    for table in re.findall(r"\n\| (?:sentence|line) \|.*?\n\n", PAGE, re.S):
        lines = table.strip().splitlines()[2:]
        found += [line.split(" | ")[0].removeprefix("| ") for line in lines]
    return found


def test_a_sentence_that_the_page_explains_is_printed() -> None:
    """A sentence that no command prints any more is found by its pairs of words."""
    assert len(sentences()) > 80
    for sentence in sentences():
        pairs = word_pairs(sentence)
        if len(pairs) > 1:
            found = share(pairs, pairs_of_the_code())
            assert found >= 0.5, f"no command prints this: {sentence}"
