"""A real SLURM of one node on the loopback interface, for as long as a test needs it.

munged, slurmctld and slurmd are Debian's. All that they write stands in one temporary folder, munge
has a key and a socket of its own; slurm.conf and gres.conf, which must stand in /etc/slurm so that
jobs find them, are removed at the end. The node claims more processors than the machine has, so
that jobs of several threads fit on a small one, and a GPU that is not there, so that one can be
asked for.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

CONFIGURATION = Path("/etc/slurm/slurm.conf")
GPUS = CONFIGURATION.with_name("gres.conf")
MARK = "# Of Counterpoint's tests; may be deleted.\n"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
PACKAGES = ("slurm-wlm", "munge")
NODE = socket.gethostname().split(".")[0]


def reason_to_skip() -> str | None:
    """Why no SLURM can be brought up here; None where it can."""
    if not sys.platform.startswith("linux"):
        return "SLURM's packages are for Linux"
    if os.geteuid() != 0:
        return "bringing up SLURM needs root"
    for path in (CONFIGURATION, GPUS):
        if path.exists() and MARK not in path.read_text(encoding="utf-8"):
            return f"this machine has a SLURM of its own: {path}"
    if missing_programs() and shutil.which("apt-get") is None:
        return "SLURM is not installed, and there is no apt-get to install it with"
    return None


def missing_programs() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name) is None]


def install() -> str | None:
    """Install what is missing; the reason when that cannot be done."""
    if not missing_programs():
        return None
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    commands = (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", *PACKAGES],
    )
    for command in commands:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=600
        )
    if missing := missing_programs():
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        return f"apt-get did not bring {', '.join(missing)}: {' '.join(last)}"
    return None


def wait_for(what: Callable[[], bool], description: str, seconds: float) -> None:
    """Look again and again until ``what()`` holds."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise TimeoutError(f"{description}: not within {seconds:.0f} s")
        time.sleep(0.2)


def call(*command: str) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def node_state() -> str:
    return call("sinfo", "--noheader", "--Node", "--format=%T").strip()


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """SLURM inside the block; afterwards its daemons and its jobs have ended."""
    folder.mkdir(parents=True)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    munge_socket = folder / "munge.socket"
    with ExitStack() as clean_up:
        # Forced, because it says of a folder below /tmp that others could write to it.
        _daemon(
            clean_up,
            folder,
            "munged",
            "--foreground",
            "--force",
            *(f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "seed", "log")),
            f"--socket={munge_socket}",
        )
        wait_for(munge_socket.exists, "munge's socket", 10)
        CONFIGURATION.parent.mkdir(exist_ok=True)
        for path, text in (
            (CONFIGURATION, _configuration(folder, munge_socket)),
            (GPUS, f"{MARK}NodeName={NODE} Name=gpu File=/dev/null\n"),
        ):
            clean_up.callback(path.unlink, missing_ok=True)
            path.write_text(text, encoding="utf-8")
        _daemon(clean_up, folder, "slurmctld", "-D", "-c")
        _daemon(clean_up, folder, "slurmd", "-D", "-c")
        # Called first, while the daemons that can do it still run.
        clean_up.callback(_end_jobs)
        try:
            wait_for(_is_idle, "an idle node", 60)
        except TimeoutError as late:
            logs = {path.name: path.read_text()[-2000:] for path in folder.glob("*.output")}
            raise RuntimeError(f"{late}: {logs}") from late
        yield


def _is_idle() -> bool:
    try:
        return node_state() == "idle"
    except RuntimeError:
        return False


def _end_jobs() -> None:
    call("scancel", "--user=root")
    wait_for(lambda: not call("squeue", "--noheader").strip(), "an empty queue", 30)


def _daemon(clean_up: ExitStack, folder: Path, name: str, *arguments: str) -> None:
    """Start a daemon in the foreground; end it when ``clean_up`` is left."""
    program = shutil.which(name)
    assert program is not None
    output = clean_up.enter_context((folder / f"{name}.output").open("wb"))
    process = subprocess.Popen(
        [program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        # Not this process's group: an interrupt of the tests is not one of the daemon.
        start_new_session=True,
    )

    def end() -> None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    clean_up.callback(end)


def _free_ports(number: int) -> list[int]:
    with ExitStack() as sockets:
        taken = [sockets.enter_context(socket.socket()) for _ in range(number)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in taken]


def _configuration(folder: Path, munge_socket: Path) -> str:
    controller, node = _free_ports(2)
    return f"""{MARK}
ClusterName=counterpoint
SlurmctldHost={NODE}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
MailProg=/bin/true
AuthType=auth/munge
AuthInfo=socket={munge_socket}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
KillWait=5
ReturnToService=1
GresTypes=gpu
NodeName={NODE} NodeAddr=127.0.0.1 Gres=gpu:1 CPUs=8 RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes={NODE} Default=YES State=UP
"""
