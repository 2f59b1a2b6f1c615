"""A pytest plugin: the fixture `slurm`, a real Slurm on this machine, one for a session of tests.

The programs are those of Debian and Ubuntu. Two virtual nodes with one core each run on the
loopback device, as root or as an ordinary user, without systemd, cgroups or a database. Each has a
GPU of a model of its own, for which a character device stands. Everything lies in one folder, and
nothing else of the machine is touched.

A node locks its devices in a folder of its own, as different machines do: where MSSBENCH_LOCKS is
set, a task gets the folder of this name and that of its node.
"""

import getpass
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from helpers.requirements import missing
from helpers.runs import until

REMEDY = "apt-get install --no-install-recommends slurmctld slurmd slurm-client munge"
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
NODES = ("n1", "n2")
# Debian has the daemons here, where an ordinary user's PATH does not lead.
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
# Below the ports that the kernel gives to outgoing connections, so that none of these takes one.
_PORTS = range(20_000, 32_000)

_CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
KillWait=5
SlurmdTimeout=10
TaskProlog={folder}/prolog.sh
GresTypes=gpu
{nodes}
PartitionName=tests Nodes={names} Default=YES MaxTime=INFINITE State=UP
"""


_PROLOG = """\
#!/bin/sh
case "$MSSBENCH_LOCKS" in
  "" | */"$SLURMD_NODENAME") ;;
  *) echo "export MSSBENCH_LOCKS=$MSSBENCH_LOCKS/$SLURMD_NODENAME" ;;
esac
"""
MODELS = ("model1", "model2")  # of the GPU of each node
_DEVICES = ("/dev/null", "/dev/zero")  # Slurm wants character devices, and opens none of them


class Slurm:
    """A running Slurm. folder: everything that it writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH"))}
        self.environment = environment | {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": _PATH}

    def call(self, *words: object, cwd: Path | None = None) -> str:
        """Run a command of Slurm, and return what it prints."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
        done = subprocess.run(
            [*map(str, words)],
            cwd=cwd,
            env=environment | {k: self.environment[k] for k in ("SLURM_CONF", "PATH")},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{words}: {done.stderr}{self.logs()}"
        return done.stdout.strip()

    def is_idle(self) -> bool:
        """Whether no job is running or pending."""
        return not self.call("squeue", "--noheader")

    def wait(self, seconds: float = 240) -> None:
        """Wait until every job has ended."""
        assert until(self.is_idle, seconds), self.call("squeue") + self.logs()

    def logs(self) -> str:
        """The ends of the daemons' logs, for the message of a test that fails."""
        logs = sorted((self.folder / "log").glob("*.log"))
        return "".join(f"\n{log.name}:\n{log.read_text()[-1000:]}" for log in logs)

    def start(self) -> bool:
        """Start the daemons. Whether all nodes are idle in the end."""
        self._configure()
        return all(map(self._started, self._daemons())) and until(self._nodes_are_idle, 20)

    def _started(self, words: Sequence[str]) -> bool:
        """Start a daemon. Whether it says that it has started."""
        # Without the variable that tells what a run left behind, see runs.relatives.
        environment = {k: v for k, v in self.environment.items() if k != "MSSBENCH_LOCKS"}
        done = subprocess.run(words, env=environment, capture_output=True, timeout=60)
        return done.returncode == 0

    def _nodes_are_idle(self) -> bool:
        done = subprocess.run(
            ["sinfo", "-h", "-N", "-o", "%T"], env=self.environment, capture_output=True, text=True
        )
        return done.stdout.split() == ["idle"] * len(NODES)

    def _configure(self) -> None:
        host, ports = socket.gethostname().partition(".")[0], free_ports(1 + len(NODES))
        nodes = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 Sockets=1 "
            f"CoresPerSocket=1 ThreadsPerCore=1 RealMemory=2000 Gres=gpu:{model}:1 State=UNKNOWN"
            for name, port, model in zip(NODES, ports[1:], MODELS, strict=True)
        ]
        gpus = [
            f"NodeName={name} Name=gpu Type={model} File={device}\n"
            for name, model, device in zip(NODES, MODELS, _DEVICES, strict=True)
        ]
        for name in ("state", "log", *(f"spool/{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "slurm.conf").write_text(
            _CONFIGURATION.format(
                host=host,
                user=getpass.getuser(),
                folder=self.folder,
                ports=ports,
                nodes="\n".join(nodes),
                names=",".join(NODES),
            )
        )
        (self.folder / "gres.conf").write_text("".join(gpus))
        prolog = self.folder / "prolog.sh"
        prolog.write_text(_PROLOG)
        prolog.chmod(0o755)
        key = self.folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(random.randbytes(128))

    def _daemons(self) -> Iterator[list[str]]:
        files = {
            "key-file": "munge.key",
            "socket": "munge.socket",
            "pid-file": "munged.pid",
            "log-file": "log/munged.log",
            "seed-file": "munge.seed",
        }
        yield ["munged", "--force", *(f"--{k}={self.folder / v}" for k, v in files.items())]
        yield ["slurmctld", "-c", "-f", f"{self.folder}/slurm.conf"]
        yield from map(self._daemon, NODES)

    def _daemon(self, node: str) -> list[str]:
        return ["slurmd", "-N", node, "-f", f"{self.folder}/slurm.conf"]

    def lose(self, node: str) -> None:
        """Kill the daemon of a node, as if its machine had lost its power."""
        os.kill(int((self.folder / f"slurmd.{node}.pid").read_text()), signal.SIGKILL)

    def bring_back(self, node: str) -> None:
        """Start a node again, and wait until all nodes are idle."""
        assert self._started(self._daemon(node))
        assert until(self._nodes_are_idle, 60), self.call("sinfo", "-N") + self.logs()

    def stop(self) -> None:
        """Cancel all jobs, and stop the daemons that were started here, by their pid files."""
        if (self.folder / "slurmctld.pid").exists():
            subprocess.run(["scancel", "--me"], env=self.environment, timeout=60)
            until(self.is_idle, 20)
        pids = [
            int(file.read_text())
            for name in ("slurmd.*.pid", "slurmctld.pid", "munged.pid")
            for file in self.folder.glob(name)
        ]
        end(pid for pid in pids if is_a_daemon(pid))


def free_ports(count: int) -> list[int]:
    """Ports on the loopback device that nobody listens on."""
    held: list[socket.socket] = []
    try:
        for port in random.sample(_PORTS, 500):
            one = socket.socket()
            held.append(one)
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                held.pop().close()
            if len(held) == count:
                break
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def is_a_daemon(pid: int) -> bool:
    """Whether a process is one of Slurm's: another one may have its number by now."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    name = status.splitlines()[0].split()[-1]
    return name in ("munged", "slurmctld", "slurmd") and "\nState:\tZ" not in status


def end(pids: Iterator[int] | Sequence[int]) -> None:
    """Ask processes to end, and kill those that have not done so after ten seconds."""
    asked = list(pids)
    for pid in asked:
        os.kill(pid, signal.SIGTERM)
    if not until(lambda: not any(map(is_a_daemon, asked)), 10):
        for pid in filter(is_a_daemon, asked):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A real Slurm. Tests that need it are skipped without one, see requirements.py."""
    if not all(shutil.which(program, path=_PATH) for program in _PROGRAMS):
        missing("slurm", REMEDY)

    # A short path, because that of a socket has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    running = Slurm(folder)
    try:
        # Twice, because a port may be taken between its choice and its use.
        started = running.start() or (running.stop() or running.start())
        assert started, f"Slurm does not start: {running.logs()}"
        yield running
    finally:
        running.stop()
        time.sleep(0.1)  # the daemons remove their pid files last
        shutil.rmtree(folder, ignore_errors=True)
