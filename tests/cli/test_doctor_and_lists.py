"""What there is, what can run here, and what to do about the rest."""

import json
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest
from helpers.tables import CONTROL, called

from mssbench import arrays, problems, registries
from mssbench.cli import doctor, listing
from mssbench.errors import NotInstalled, RegistryError
from mssbench.machine import devices, findings
from mssbench.methods import registry
from mssbench.suite import shipped, suite


def listed(capsys, what):
    code, text, err = called(capsys, "list", what, "--json")
    assert (code, err) == (0, "")
    return json.loads(text)["rows"]


def test_backends_are_every_forward_on_every_library(capsys):
    found = {r["backend"]: r for r in listed(capsys, "backends")}
    forwards = registry.known("forward").values()
    assert set(found) == {f"{library}/{m.name}" for m in forwards for library in m.libraries}
    one = found["torch/newton_schulz"]
    assert one["parameters"][0] == "iterations=5 (or auto)"
    assert one["functions"] == ["sqrt", "isqrt"]
    assert set(found["numpy/newton_schulz"]["precisions"]) == set(arrays.PRECISIONS["numpy"])
    assert all(r["cite"] and r["summary"] and r["here"] for r in found.values())


def test_a_backend_that_cannot_run_says_why(capsys, monkeypatch):
    def check(library, device):
        if library != "numpy":
            raise NotInstalled(f"{library} is not installed: pip install {library}")

    monkeypatch.setattr(devices, "check_library", check)
    found = {r["backend"]: r["here"] for r in listed(capsys, "backends")}
    assert found["numpy/eigh"] == "cpu"
    assert found["torch/eigh"] == "torch is not installed: pip install torch"
    _, text, _ = called(capsys, "list", "backends")
    assert "torch/eigh: torch is not installed: pip install torch\n" in text
    assert "numpy/eigh: cpu (float64, float32)\n" in text


def test_a_method_of_one_device_runs_on_no_other(capsys, monkeypatch):
    monkeypatch.setattr(devices, "check_library", lambda library, device: None)
    found = {r["backend"]: r["here"] for r in listed(capsys, "backends")}
    assert found["torch/eigh"] == "cpu, cuda"
    assert found["torch/jacobi"] == found["cupy/jacobi"] == "cuda"


def test_for_people_a_method_is_said_once(capsys):
    _, text, _ = called(capsys, "list", "backends")
    names = [line.split()[0] for line in text.splitlines() if line[:2].strip()]
    for method in registry.known("forward").values():
        assert text.count(f" {method.name} ") == 1, names
        assert text.count(method.summary[:40]) == 1


def test_backwards_name_their_parameters_as_a_suite_spells_them(capsys):
    found = {r["backward"]: r for r in listed(capsys, "backwards")}
    assert set(found) == set(registry.known("backward"))
    for name, record in found.items():
        known = registry.lookup("backward", name).parameters.values()
        assert record["parameters"] == [f"backward_{p.describe()}" for p in known]


def test_problems_are_the_generators_and_the_modifiers(capsys):
    found = {r["problem"]: r for r in listed(capsys, "problems")}
    modifiers = {f"PROBLEM|{name}" for name in problems.modifiers()}
    assert set(found) == set(problems.generators()) | modifiers
    assert found["wishart"]["here"] == "yes"
    assert found["wishart"]["parameters"] == ["ratio=2"]
    for name, record in found.items():
        assert record["cite"], name
        assert record["summary"], name
        if name != "file":  # which needs a path
            problems.canonical(name.replace("PROBLEM", "identity"))


@pytest.mark.parametrize("columns", [60, 80, 110])
def test_a_long_list_of_choices_is_folded_between_words(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    _, out, _ = called(capsys, "list", "problems")
    for word in ("hubble_deep_field", "stereo_motorcycle", "immunohistochemistry"):
        assert word in out


def test_a_problem_says_how_to_get_its_package(monkeypatch):
    lacking = {"scikit-image"}
    monkeypatch.setattr(listing, "_installed", lambda name: name not in lacking)
    assert listing._missing(None) == "yes"
    assert listing._missing("data") == "needs scikit-image: pip install 'mssbench[data]'"
    lacking.clear()
    assert listing._missing("data") == "yes"


def test_every_optional_group_a_problem_needs_is_one_of_ours():
    extras = {g.package for g in problems.generators().values()} - {None}
    assert extras
    assert all(listing._packages(extra) for extra in extras)


def test_listing_problems_imports_none_of_their_packages():
    code = (
        "import sys; from mssbench.cli import listing\n"
        "assert listing.listing('problems', [])\n"
        "assert not {'skimage', 'sklearn', 'torch', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("group", "what", "column", "shown"),
    [
        ("backward", "backwards", "backward", "mine"),
        ("problem", "problems", "problem", "mine"),
        ("modifier", "problems", "problem", "PROBLEM|mine"),
    ],
)
def test_a_plugin_that_fails_is_listed_with_the_reason(
    capsys, monkeypatch, group, what, column, shown
):
    offered = EntryPoints([EntryPoint("mine", "no_such_module", f"mssbench.{group}")])
    monkeypatch.setattr(registries, "entry_points", lambda group: offered.select(group=group))
    found = listed(capsys, what)
    (mine,) = (r for r in found if r[column].endswith("mine"))
    assert (mine[column], mine["summary"]) == (shown, "A plugin that fails.")
    reason = "of no_such_module needs no_such_module: pip install no_such_module"
    assert mine["here"] == f"{group} 'mine' {reason}"
    monkeypatch.setattr(registries, "entry_points", lambda group: EntryPoints())
    others = listed(capsys, what)
    assert [r for r in found if r is not mine] == others


@pytest.mark.slow
def test_suites_have_their_cells_counted(capsys):
    found = {r["suite"]: r for r in listed(capsys, "suites")}
    assert set(found) == set(shipped.of_runs())
    for name, record in found.items():
        auto = devices.default_device()
        assert record["cells"] == len(suite.load(suite.find(name), auto=auto).cells)


def test_an_unknown_list_names_the_nearest(capsys):
    assert called(capsys, "list", "backend") == (
        2,
        "",
        "mssbench: Unknown list 'backend'. Did you mean 'backends'? Known: backends, "
        "backwards, problems, suite-schema, suites.\n",
    )


def test_a_method_of_ones_own_is_listed(tmp_path, capsys):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from mssbench.methods.registry import Root, register_forward\n\n"
        "@register_forward(cite='me', products=lambda **_: 1.0, libraries=['numpy'])\n"
        "def mine_of_the_lists(a, *, depth: int = 3):\n"
        '    """A root of my own."""\n'
        "    return Root(a, a)\n"
    )
    with registry.temporarily():
        _, text, _ = called(capsys, "list", "backends", "--also", mine, "--json")
        (one,) = [r for r in json.loads(text)["rows"] if r["backend"] == "numpy/mine_of_the_lists"]
        assert (one["summary"], one["parameters"]) == ("A root of my own.", ["depth=3"])


@pytest.mark.sampled(1)
@pytest.mark.parametrize("what", listing.KINDS)
def test_lists_are_plain_text_in_a_pipe(capsys, what, monkeypatch):
    monkeypatch.setenv("COLUMNS", "72")
    code, text, _ = called(capsys, "list", what)
    assert code == 0
    assert CONTROL.search(text) is None
    assert max(map(len, text.splitlines())) <= 72


@pytest.fixture(scope="module")
def examined():
    return doctor.examine()


def test_doctor_says_what_can_run_here(examined):
    found = {(b["library"], b["device"]): b for b in examined["backends"]}
    assert set(found) == {(k, d) for k in arrays.LIBRARIES for d in arrays.DEVICES[k]}
    assert found["torch", "cpu"]["available"]
    assert found["numpy", "cpu"]["available"]
    for backend in found.values():
        assert bool(backend["reason"]) != backend["available"]
        assert "doctor" not in backend["reason"]  # who reads this is here already


def test_every_library_that_cannot_run_is_a_finding_with_a_remedy(examined):
    said = [f["finding"] for f in examined["findings"]]
    for b in examined["backends"]:
        begin = f"{b['library']} on {b['device']} cannot run: "
        assert any(s.startswith(begin) for s in said) != b["available"]
    for found in examined["findings"]:
        assert list(found) == ["finding", "consequence", "remedy"]
        assert all(found.values())


@pytest.mark.parametrize(
    ("reason", "finding", "remedy"),
    [
        (
            "no CUDA device: the NVIDIA driver shows none",
            ": no CUDA device: the NVIDIA driver shows none",
            "run where `nvidia-smi` lists a GPU (in Docker: docker run --gpus all)",
        ),
        (
            "cupy is not installed, nor is there a CUDA device: pip install it",
            ": cupy is not installed, nor is there a CUDA device",
            "run where `nvidia-smi` lists a GPU (in Docker: docker run --gpus all), and there: "
            "pip install it",
        ),
        ("cupy is not installed: pip install it", ": cupy is not installed", "pip install it"),
        (
            "cupy cannot use the GPU: error 35",
            ": cupy cannot use the GPU: error 35",
            "`nvidia-smi` shows the CUDA version of the driver: install a build for it",
        ),
    ],
)
def test_a_library_that_cannot_run_has_the_remedy_of_its_reason(reason, finding, remedy):
    backend = {"library": "cupy", "device": "cuda", "available": False, "reason": reason}
    (one,) = findings.of_backends([backend])
    assert one["finding"] == f"cupy on cuda cannot run{finding}"
    assert one["remedy"] == remedy
    assert list(findings.of_backends([backend | {"available": True}])) == []


def facts(examined, **changed):
    quiet = {
        "load": (0.0, 0.0, 0.0),
        "governor": None,
        "gpus": [],
        "cores": {"granted": 2, "physical": 2, "logical": 2},
        "float32_matmul_precision": "highest",
    }
    return examined["facts"] | quiet | changed


@pytest.mark.parametrize(
    ("changed", "finding", "remedy"),
    [
        ({"load": (3.0, 0, 0)}, "load average 3.0 on 2 cores: something else is running", "top"),
        (
            {"cores": {"granted": 4, "physical": 2, "logical": 4}},
            "4 threads granted on 2 physical cores",
            "taskset -c 0-1",
        ),
        (
            {"governor": "powersave"},
            "CPU governor is powersave: the clock rate changes during a run",
            "cpupower",
        ),
        (
            {"gpus": [{"name": "x"}], "float32_matmul_precision": "high"},
            "float32 products are high by default",
            'torch.set_float32_matmul_precision("highest")',
        ),
    ],
    ids=["load", "hyperthreads", "governor", "tf32"],
)
def test_a_finding_names_its_remedy(examined, changed, finding, remedy):
    (one,) = findings.of_machine(facts(examined, **changed))
    assert one["finding"] == finding
    assert one["consequence"]
    assert remedy in one["remedy"]


def test_locks_of_ones_own_are_a_finding(monkeypatch):
    monkeypatch.setenv("MSSBENCH_LOCKS", "/somewhere")
    (one,) = findings.of_locks()
    assert one["remedy"] == "unset MSSBENCH_LOCKS"
    monkeypatch.delenv("MSSBENCH_LOCKS")
    assert list(findings.of_locks()) == []


def test_a_quiet_machine_has_no_finding(examined, monkeypatch, capsys):
    assert list(findings.of_machine(facts(examined))) == []
    monkeypatch.setattr(doctor, "examine", lambda: examined | {"findings": []})
    _, text, _ = called(capsys, "doctor")
    assert text.endswith("No problem was found.\n")


@pytest.mark.parametrize("width", [80, 110])
def test_no_word_of_a_finding_is_lost_at_any_width(examined, monkeypatch, capsys, width):
    monkeypatch.setattr(doctor, "examine", lambda: examined)
    monkeypatch.setenv("COLUMNS", str(width))
    _, text, _ = called(capsys, "doctor")
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    for found in examined["findings"]:
        said = f"{found['finding']} consequence {found['consequence']} remedy {found['remedy']}"
        assert said in words


def test_the_report_has_the_facts_and_the_json_has_them_all(examined, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda: examined)
    monkeypatch.setenv("COLUMNS", "100")
    code, text, err = called(capsys, "doctor")
    assert (code, err) == (0, "")
    assert CONTROL.search(text) is None
    assert examined["environment"] in text
    assert examined["facts"]["python"] in text
    _, text, _ = called(capsys, "doctor", "--json")
    assert json.loads(text)["environment"] == examined["environment"]
    assert json.loads(text)["facts"]["versions"]["torch"]
    assert json.loads(text)["probes"] == json.loads(json.dumps(examined["probes"]))


def test_an_unknown_kind_is_a_registry_error():
    with pytest.raises(RegistryError):
        listing.listing("frontends", [])
