"""Attacks on `ab` from the side of git: hooks, damaged and abandoned trees, odd clones."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.repositories import Repository, environment, machine_line
from helpers.runs import until

from mssbench.ab import revisions
from mssbench.errors import RunError
from mssbench.machine import git as git_
from mssbench.results import locks

pytestmark = pytest.mark.slow


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """Its own folder for temporary files, so that each test sees what is left in there."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    found = Repository(tmp_path)
    monkeypatch.chdir(found.path)
    yield found
    assert not found.worktrees()
    assert not list((found.path / ".git" / "worktrees").glob("*"))
    assert not list(scratch.glob("mssbench-ab-*"))


def compared(text: str) -> bool:
    """Whether both cells were compared and nothing was found."""
    return re.match(r"mssbench: verdict=pass .* rows=2$", machine_line(text)) is not None


@pytest.mark.parametrize("how", ["-am", "-m"])
def test_attack_pre_commit_makes_the_commit_that_was_asked_for(
    repository: Repository, how: str
) -> None:
    """With -a git gives the hook an index of its own; without it that of the repository."""
    log = repository.outside / "log"
    repository.hook("pre-commit", repository.hooked_ab(log))
    repository.write("notes", "three\n")
    if how == "-m":
        repository.git("add", "notes")
    repository.git("commit", "-q", how, "three")

    assert compared(log.read_text()), log.read_text()
    assert repository.git("show", "HEAD", "--stat", "--format=%s").stdout.split() == [
        "three",
        "notes",
        "|",
        "2",
        "+-",
        "1",
        "file",
        "changed,",
        "1",
        "insertion(+),",
        "1",
        "deletion(-)",
    ]
    assert not repository.changes()


def test_attack_pre_push_pushes_what_was_asked_for(repository: Repository) -> None:
    log, other = repository.outside / "log", repository.outside / "other.git"
    repository.git("init", "-q", "--bare", str(other))
    repository.hook("pre-push", repository.hooked_ab(log))
    repository.git("push", "-q", str(other), "main")
    assert compared(log.read_text()), log.read_text()
    heads = [repository.git("rev-parse", "main", cwd=p).stdout for p in (repository.path, other)]
    assert heads[0] == heads[1]


def test_attack_pre_commit_in_a_linked_worktree(repository: Repository) -> None:
    log, linked = repository.outside / "log", repository.outside / "linked"
    repository.git("worktree", "add", "-q", "-b", "side", str(linked))
    repository.hook("pre-commit", repository.hooked_ab(log))
    (linked / "notes").write_text("three\n")
    repository.git("commit", "-qam", "three", cwd=linked)
    assert compared(log.read_text()), log.read_text()
    assert repository.git("show", "--format=", "--name-only", "side").stdout.split() == ["notes"]
    assert not repository.git("status", "--porcelain", cwd=linked).stdout
    assert not repository.changes()
    repository.git("worktree", "remove", str(linked))


def test_attack_rebase_with_ab_after_each_commit(repository: Repository) -> None:
    log = repository.outside / "log"
    repository.commit("notes", "three\n")
    repository.commit("other", "four\n")
    before = repository.git("log", "--format=%T %s").stdout
    command = repository.hooked_ab(log).replace("exec ", "", 1)
    repository.git("rebase", "-q", "--force-rebase", "--exec", command, "HEAD~2")
    assert log.read_text().count("mssbench: verdict=pass") == 2, log.read_text()
    assert repository.git("log", "--format=%T %s").stdout == before
    assert not repository.changes()


def test_attack_variables_of_another_repository(repository: Repository) -> None:
    """As a hook of one repository that calls `ab` in another would hand down."""
    other = Repository(repository.outside / "second")
    names = {
        "GIT_DIR": ".git",
        "GIT_INDEX_FILE": ".git/index",
        "GIT_COMMON_DIR": ".git",
        "GIT_OBJECT_DIRECTORY": ".git/objects",
    }
    hostile = {name: str(other.path / inside) for name, inside in names.items()}
    hostile |= {"GIT_WORK_TREE": str(other.path), "GIT_CONFIG_PARAMETERS": "'core.bare=true'"}
    before = (other.path / ".git" / "index").read_bytes()
    done = repository.run(env=hostile)
    assert compared(done.stdout), done.stdout + done.stderr
    assert (other.path / ".git" / "index").read_bytes() == before
    assert not other.changes()
    assert not other.worktrees()


def test_attack_the_workers_of_a_revision_inherit_no_repository(repository: Repository) -> None:
    """An older one asks git for its commit in whatever environment it has."""
    told = repository.outside / "told"
    worker = repository.path / "mssbench" / "worker.py"
    note = (
        f"import os\nopen({str(told)!r}, 'a').write("
        "' '.join(k for k in os.environ if k.startswith('GIT_')) + '|')\n"
    )
    repository.commit("mssbench/worker.py", note + worker.read_text())
    log = repository.outside / "log"
    repository.hook("pre-commit", repository.hooked_ab(log).replace("HEAD~1", "HEAD"))
    repository.write("notes", "three\n")
    repository.git("commit", "-qam", "three")
    names = set(told.read_text().replace("|", " ").split())
    assert names
    assert not names & git_.local_variables()


@pytest.mark.parametrize("script", ["exit 1", "touch ran; exit 1", "kill -9 $PPID"])
def test_attack_a_hook_that_runs_after_a_checkout(repository: Repository, script: str) -> None:
    mark = repository.outside / "ran"
    repository.hook("post-checkout", script.replace("ran", f"'{mark}'"))
    done = repository.run()
    assert compared(done.stdout), done.stdout + done.stderr
    assert not mark.exists()


def test_attack_a_kill_in_the_middle_is_cleared_by_the_next_start(repository: Repository) -> None:
    repository.write_worker(seconds=0, do={"eigh": "hang_held"})
    repository.commit("notes", "hangs\n")
    with subprocess.Popen(
        repository.ab("HEAD", "HEAD"),
        cwd=repository.path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert until(lambda: len(repository.worktrees()) == 2)
        assert until(lambda: all(Path(line[9:]).is_dir() for line in repository.worktrees()))
        # one that is alive is nobody's to remove
        revisions.remove_abandoned()
        assert len(repository.worktrees()) == 2
        process.send_signal(signal.SIGKILL)
    assert len(repository.worktrees()) == 2
    revisions.remove_abandoned()


def test_attack_leftovers_in_every_state_are_removed(repository: Repository) -> None:
    """Without their folder, without their link, locked as by a `git worktree add` that died."""
    trees = {}
    for state in ("whole", "gone", "unlinked", "locked", "bare"):
        folder = repository.outside / "scratch" / f"mssbench-ab-{state}"
        folder.mkdir()
        trees[state] = folder / "tree"
        repository.git("worktree", "add", "-q", "--detach", str(trees[state]))
    shutil.rmtree(trees["gone"].parent)
    (trees["unlinked"] / ".git").unlink()
    repository.git("worktree", "lock", str(trees["locked"]))
    shutil.rmtree(trees["bare"])
    foreign = repository.outside / "mssbench-ab-mine"  # a folder of the user's, named alike
    repository.git("worktree", "add", "-q", "--detach", str(foreign))
    revisions.remove_abandoned()
    assert repository.worktrees() == [f"worktree {foreign}"]
    repository.git("worktree", "remove", str(foreign))


def test_attack_a_checkout_that_git_cannot_finish_leaves_nothing(repository: Repository) -> None:
    repository.write(".gitattributes", "notes filter=broken\n")
    repository.git("config", "filter.broken.clean", "cat")
    repository.git("config", "filter.broken.smudge", "false")
    repository.git("config", "filter.broken.required", "true")
    repository.git("add", ".gitattributes")
    repository.git("commit", "-qm", "a filter")
    done = repository.run()
    assert done.returncode == 2
    assert "cannot be checked out: " in done.stderr
    assert "smudge filter" in " ".join(done.stderr.split())
    # what failed once leaves the tree as it was
    with (
        pytest.raises(RunError, match="smudge filter"),
        revisions.checked_out("HEAD", str(revisions.commit_of("HEAD")), ()),
    ):
        pass


def test_attack_an_interrupted_comparison_leaves_no_tree(repository: Repository) -> None:
    repository.write_worker(do={"eigh": "hang_held"})
    repository.commit("notes", "hangs\n")
    with subprocess.Popen(
        repository.ab("HEAD", "HEAD"),
        cwd=repository.path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert until(lambda: len(repository.worktrees()) == 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130


def test_attack_a_shallow_clone_says_that_it_is_one(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = repository.outside / "clone"
    repository.git("clone", "-q", "--depth", "1", f"file://{repository.path}", str(clone))
    done = repository.run(cwd=clone)
    told = " ".join(done.stderr.split())
    assert done.returncode == 2
    assert "This is a shallow clone, which has no older commits: `git fetch --unshallow`" in told


def test_attack_a_repository_of_another_user(repository: Repository) -> None:
    done = repository.run(env={"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"})
    told = " ".join(done.stderr.split())
    assert done.returncode == 2
    assert "git says: detected dubious ownership in repository" in told
    assert "safe.directory" in told


@pytest.mark.parametrize("where", ["outside", "without git"])
def test_attack_no_repository_and_no_git(repository: Repository, where: str) -> None:
    if where == "outside":
        done = repository.run(cwd=repository.outside)
        reason = "git says: not a git repository"
    else:
        done = repository.run(env={"PATH": str(Path(sys.executable).parent)})
        reason = "git says: git cannot be started: No such file"
    assert done.returncode == 2
    assert reason in " ".join(done.stderr.split())


def test_attack_a_dirty_tree_beside_head(repository: Repository) -> None:
    repository.write("mssbench/changed.py", "x = 1\n")
    repository.write("mssbench/engines/events.py", "PROTOCOL_VERSION = 4  # changed\n")
    repository.write("notes", "not compared\n")
    done = repository.run()
    said = (
        "HEAD leaves out 2 uncommitted changes of this tree: mssbench/changed.py, "
        "mssbench/engines/events.py"
    )
    assert compared(done.stdout), done.stdout + done.stderr
    for text in (done.stdout, done.stderr):
        words = " ".join(text.split())
        assert said in words or ("mssbench/engines/events.py" in words and "leaves out 2" in words)
    repository.git("checkout", "-q", "--", ".")
    (repository.path / "mssbench" / "changed.py").unlink()
    assert "leaves out" not in repository.run().stderr


@pytest.mark.parametrize("protocol", [3, 99])
def test_attack_a_revision_of_another_protocol(repository: Repository, protocol: int) -> None:
    """It is said before its workers fail on a set-up that they cannot read."""
    repository.write("mssbench/worker.py", "raise SystemExit('cannot read the set-up')\n")
    repository.commit("mssbench/engines/events.py", f"PROTOCOL_VERSION = {protocol}  # other\n")
    repository.commit("mssbench/engines/events.py", "PROTOCOL_VERSION = 4\n")
    done = repository.run()
    told = " ".join(done.stderr.split())
    assert done.returncode == 2
    assert f"an mssbench that speaks protocol {protocol} with its workers, this one" in told
    assert "cannot read the set-up" not in told


def test_attack_a_revision_of_another_protocol_seen_from_a_subfolder(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit("mssbench/engines/events.py", "PROTOCOL_VERSION = 99\n")
    monkeypatch.chdir(repository.path / "mssbench" / "engines")
    with pytest.raises(RunError, match="speaks protocol 99 with its workers"):
        revisions.refuse_other_protocol("HEAD", str(revisions.commit_of("HEAD")))


@pytest.mark.parametrize("locks_files", [True, False])
def test_attack_a_temporary_folder_that_cannot_be_locked(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, *, locks_files: bool
) -> None:
    """As on NFS: of a folder never, and of a file only where it is open for writing."""
    real = locks.fcntl.flock

    def nfs(fd: int, operation: int) -> None:
        if not locks_files or os.path.isdir(f"/proc/self/fd/{fd}"):  # noqa: PTH112
            raise OSError(errno.EBADF, "Bad file descriptor")
        real(fd, operation)

    monkeypatch.setattr(locks.fcntl, "flock", nfs)
    opened = revisions.checked_out("HEAD", str(revisions.commit_of("HEAD")), ())
    if not locks_files:
        with pytest.raises(RunError, match="cannot be locked: Bad file descriptor"), opened:
            pass
        return  # the fixture sees that nothing is left
    with opened as revision:
        assert (revision.tree / "notes").exists()
        revisions.remove_abandoned()  # by another `ab`
        assert (revision.tree / "notes").exists()


def test_attack_a_kill_before_there_is_a_tree_is_cleared_by_a_later_start(
    repository: Repository,
) -> None:
    scratch = repository.outside / "scratch"
    names = ("empty", "lock", "new", "held", "full")
    made = {name: scratch / f"mssbench-ab-{name}" for name in names}
    for name, folder in made.items():
        folder.mkdir()
        if name == "lock":
            (folder / ".lock").touch()
        if name == "full":
            (folder / "somebody's").touch()
        if name != "new":
            os.utime(folder, (0, 0))
    fd, _ = locks.hold(made["held"])
    revisions.remove_abandoned()
    assert {name for name, folder in made.items() if folder.exists()} == {"new", "held", "full"}
    locks.release(fd)
    for name in ("new", "held", "full"):
        shutil.rmtree(made[name])


@pytest.mark.parametrize("state", ["untracked", "ignored"])
def test_attack_an_also_file_that_no_revision_has(repository: Repository, state: str) -> None:
    if state == "ignored":
        repository.commit(".gitignore", "mine.py\n")
    mine = repository.write("mine.py", "")
    done = repository.run(*repository.ab("HEAD~1", "HEAD", "--also", mine))
    told = " ".join(done.stderr.split())
    assert done.returncode == 2
    assert f"--also {mine}: git does not track this file" in told.replace("- ", "-")
    outside = repository.outside / "mine.py"
    outside.write_text("")
    done = repository.run(*repository.ab("HEAD~1", "HEAD", "--also", outside))
    assert compared(done.stdout), done.stdout + done.stderr
