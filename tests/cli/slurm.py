"""A single-node Slurm cluster in a temporary folder: munged, slurmctld, slurmd on 127.0.0.1."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

BINARIES = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "sinfo")

# a fake GPU with the device /dev/null
CONFIG = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 Gres=gpu:1 State=UNKNOWN
PartitionName=here Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing_binaries() -> list[str]:
    """The programs of Slurm that are not installed (Debian: slurm-wlm and munge)."""
    return [name for name in BINARIES if _binary(name) is None]


@contextmanager
def slurm(folder: Path) -> Generator[dict[str, str]]:
    """Start a cluster with one node and wait until the node is idle.

    Yields:
        The environment variables of Slurm's commands.
    """
    folder.mkdir(parents=True)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    folder.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    config = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    config.write_text(CONFIG.format(folder=folder, host=host, user=getpass.getuser(), ports=_free_ports(2)), "utf-8")
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n", "utf-8")
    variables = {"SLURM_CONF": str(config)}
    munged = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munged += [f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/seed"]
    with ExitStack() as daemons:
        daemons.enter_context(_running(munged, folder, variables))
        _wait((folder / "munge.socket").exists, "munged made no socket", folder)
        daemons.enter_context(_running(["slurmctld", "-D"], folder, variables))
        daemons.enter_context(_running(["slurmd", "-D", "-N", host], folder, variables))
        _wait(lambda: "idle" in _sinfo(variables), "no node became idle", folder)
        yield variables


@contextmanager
def _running(command: list[str], folder: Path, variables: dict[str, str]) -> Generator[None]:
    with (folder / f"{command[0]}.out").open("wb") as out:
        process = subprocess.Popen(
            [str(_binary(command[0])), *command[1:]],
            env={**os.environ, **variables},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _sinfo(variables: dict[str, str]) -> str:
    asked = [str(_binary("sinfo")), "--noheader", "--format=%T"]
    return subprocess.run(asked, env={**os.environ, **variables}, capture_output=True, text=True, check=False).stdout


def _wait(ready: object, complaint: str, folder: Path) -> None:
    assert callable(ready)
    deadline = time.monotonic() + 60
    while not ready():
        if time.monotonic() > deadline:
            said = "\n".join(path.read_text("utf-8", "replace")[-2000:] for path in sorted(folder.glob("*.out")))
            raise AssertionError(f"{complaint}\n{said}")
        time.sleep(0.2)


def _binary(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _free_ports(n: int) -> list[int]:
    with ExitStack() as held:
        taken = [held.enter_context(socket.socket()) for _ in range(n)]
        for free in taken:
            free.bind(("127.0.0.1", 0))
        return [int(free.getsockname()[1]) for free in taken]
