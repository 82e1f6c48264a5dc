"""A temporary Slurm of one node with two simulated GPUs; needs no root, munge, systemd or accounting database."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time

__all__ = ["GPUS", "available", "cluster", "jobs"]

GPUS = 2
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
# The node claims eight cores, so that jobs wait only for GPUs.  A GPU needs a device file; any two files work.
# KillWait: a job that exceeds its limit is killed immediately.  MinJobAge: finished jobs stay listed.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={folder}/prolog
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
MpiDefault=none
ReturnToService=2
KillWait=1
MinJobAge=86400
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=gpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
DEVICES = ("/dev/null", "/dev/zero")


def available():
    """Return whether the programs of Slurm are installed."""
    return all(shutil.which(name, path=PATH) for name in ("slurmctld", "slurmd", "sbatch", "srun", "setpriv"))


@contextlib.contextmanager
def cluster(folder):
    """Start Slurm in a folder, yield the environment variables for its commands, and stop it with all its jobs.

    The file `gpus/<job number>` in the folder lists the GPUs that the job saw.
    """
    folder = folder.resolve()
    for name in ("state", "spool", "bin", "gpus"):
        (folder / name).mkdir(parents=True)
    host, user = socket.gethostname().split(".")[0], getpass.getuser()
    configuration = folder / "slurm.conf"
    ports = {"controller_port": _free_port(), "node_port": _free_port()}
    configuration.write_text(CONFIGURATION.format(host=host, user=user, folder=folder, gpus=GPUS, **ports))
    (folder / "gres.conf").write_text("".join(f"NodeName={host} Name=gpu File={device}\n" for device in DEVICES))
    _script(folder / "prolog", f'echo "$CUDA_VISIBLE_DEVICES" > {folder}/gpus/$SLURM_JOB_ID')
    # The plugin does not pass SLURM_CONF to srun; a real cluster has its configuration in /etc/slurm.
    _script(folder / "bin" / "srun", f'SLURM_CONF={configuration} exec {shutil.which("srun", path=PATH)} "$@"')
    environment = {**os.environ, "SLURM_CONF": str(configuration), "PATH": f"{folder / 'bin'}:{PATH}"}
    with contextlib.ExitStack() as stack:
        for command in (["slurmctld"], ["slurmd", "-N", host]):
            stack.enter_context(_daemon([*command, "-D", "-f", str(configuration)], folder, environment))
        _wait_for_node(folder, environment)
        stack.callback(subprocess.run, ["scancel", "--user", user], env=environment, check=False, capture_output=True)
        yield environment


def jobs(environment):
    """Return {key: value} of every job, in the order of submission."""
    command = ["scontrol", "show", "job", "--oneliner", "--details"]
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    lines = [line for line in completed.stdout.splitlines() if line.startswith("JobId=")]
    return [dict(word.partition("=")[::2] for word in line.split() if "=" in word) for line in lines]


def _script(file, line):
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)


def _free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@contextlib.contextmanager
def _daemon(command, folder, environment):
    with (folder / f"{command[0]}.log").open("w") as log:
        # The daemon ends with this process.
        command = ["setpriv", "--pdeathsig", "KILL", *command]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for_node(folder, environment, seconds=20):
    end = time.monotonic() + seconds
    state = None
    while state != "idle":
        if time.monotonic() > end:
            logs = "".join(log.read_text()[-1500:] for log in folder.glob("*.log"))
            raise RuntimeError(f"Slurm did not start (state of the node: {state!r}):\n{logs}")
        time.sleep(0.05)
        command = ["sinfo", "--noheader", "--format=%T"]
        state = subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip()
