"""A real SLURM of one node (slurmctld, slurmd, munged) in a folder of its own, for as long as a test needs it."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")

CONF = """\
ClusterName=one
SlurmctldHost={host}
SlurmUser=root
SlurmctldPort={ctld}
SlurmdPort={slurmd}
AuthType=auth/munge
AuthInfo=socket={at}/munge.socket,cred_expire=10
StateSaveLocation={at}/state
SlurmdSpoolDir={at}/spool
SlurmctldPidFile={at}/slurmctld.pid
SlurmdPidFile={at}/slurmd.pid
SlurmctldLogFile={at}/slurmctld.log
SlurmdLogFile={at}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=1,sched_interval=1
MinJobAge=10
KillWait=5
ReturnToService=2
NodeName={host} CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why there can be no SLURM here; empty if there can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if absent:
        return f"{', '.join(absent)} not installed: apt-get install slurmctld slurmd munge slurm-client"
    return "" if os.geteuid() == 0 else "SLURM's daemons want root here"


@contextmanager
def slurm(at: Path):
    """Start it, yield the environment for its commands, stop it. Raises RuntimeError when it does not come up."""
    host = socket.gethostname().split(".")[0]
    (at / "state").mkdir()
    (at / "spool").mkdir()
    at.chmod(0o755)
    key = at / "munge.key"
    key.write_bytes(secrets.token_bytes(64))
    key.chmod(0o600)
    conf = at / "slurm.conf"
    text = CONF.format(host=host, at=at, ctld=_port(), slurmd=_port(), cpus=os.cpu_count())
    conf.write_text(text, encoding="utf-8")
    environment = {**os.environ, "SLURM_CONF": str(conf), "PATH": _path()}
    own = [f"--pid-file={at}/munged.pid", f"--log-file={at}/munged.log", f"--seed-file={at}/munged.seed"]
    daemons = [
        ["munged", "-F", "--force", f"--key-file={key}", f"--socket={at}/munge.socket", *own],
        ["slurmctld", "-D", "-f", str(conf)],
        ["slurmd", "-D", "-f", str(conf), "-N", host],
    ]
    running = []
    try:
        for command in daemons:
            log = (at / f"{command[0]}.out").open("w", encoding="utf-8")
            running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            time.sleep(1)
        for _ in range(60):
            seen = subprocess.run(
                ["sinfo", "-h", "-o", "%T"],
                env=environment,
                capture_output=True,
                encoding="utf-8",
                check=False,
            )
            if seen.stdout.strip() == "idle":
                break
            time.sleep(0.5)
        else:
            logs = "\n".join(path.read_text(encoding="utf-8")[-600:] for path in at.glob("*.out"))
            raise RuntimeError(f"no idle node: {seen.stdout} {seen.stderr}\n{logs}")
        yield environment
        subprocess.run(["scancel", "--user=root"], env=environment, check=False)
        time.sleep(1)
    finally:
        for process in reversed(running):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _path() -> str:
    return os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])


def _port() -> int:
    with socket.socket() as s:
        s.bind(("", 0))
        return int(s.getsockname()[1])
