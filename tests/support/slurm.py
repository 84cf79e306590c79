"""A Slurm cluster on this machine: controller, two nodes with a GPU each that only their configuration has, munge."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from getpass import getuser
from pathlib import Path

import psutil
import pytest

from tests.support.servers import Process, free_ports, until

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch")
NODES = ("n1", "n2")


def _program(name: str) -> str:
    if found := shutil.which(name) or shutil.which(name, path="/usr/sbin"):
        return found
    pytest.skip(f"no `{name}`: install the packages slurmctld, slurmd, slurm-client and munge")


class Slurm:
    """A cluster under a folder of its own, used through Slurm's commands with `environment`."""

    def __init__(self) -> None:
        self.programs = {name: _program(name) for name in PROGRAMS}
        self.folder = Path(tempfile.mkdtemp(prefix="dialogsum-slurm-"))  # pytest's are too long for a socket
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self._configure()
        self.daemons: dict[str, Process] = {}
        try:
            self._start_munge()
            self._start("slurmctld", "-D")
            for node in NODES:
                self.start_node(node)
            until(lambda: self.command("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == "2", "Slurm")
        except BaseException:
            self.stop()
            raise

    def _configure(self) -> None:
        folder, host, user = self.folder, socket.gethostname(), getuser()
        controller, *ports = free_ports(3)
        nodes = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 Gres=gpu:1"
            for name, port in zip(NODES, ports, strict=True)
        ]
        settings = {
            "ClusterName": "tests",
            "SlurmctldHost": f"{host}(127.0.0.1)",
            "SlurmctldPort": controller,
            "SlurmUser": user,
            "SlurmdUser": user,
            "AuthInfo": f"socket={folder}/munge.socket",
            "MpiDefault": "none",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "SelectType": "select/cons_tres",
            "GresTypes": "gpu",
            "ReturnToService": 2,
            "StateSaveLocation": folder / "state",
            "SlurmdSpoolDir": folder / "spool-%n",
            "SlurmctldPidFile": folder / "slurmctld.pid",
            "SlurmdPidFile": folder / "%n.pid",
            "SlurmctldTimeout": 10,
            "SlurmdTimeout": 10,
            "SchedulerParameters": "bf_interval=1,sched_interval=2",
        }
        partition = f"PartitionName=gpu Nodes={','.join(NODES)} Default=YES State=UP"
        lines = [*(f"{name}={value}" for name, value in settings.items()), *nodes, partition]
        (folder / "slurm.conf").write_text("\n".join(lines) + "\n")
        (folder / "gres.conf").write_text(f"NodeName={','.join(NODES)} Name=gpu File=/dev/null\n")
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # no plugin of these uses it
        (folder / "state").mkdir()

    def _start_munge(self) -> None:
        files = {name: f"{self.folder}/munge.{name}" for name in ("socket", "key", "pid", "log", "seed")}
        subprocess.run([self.programs["mungekey"], "--create", f"--keyfile={files['key']}"], check=True)
        options = [f"--{name}-file={files[name]}" for name in ("key", "pid", "log", "seed")]
        self._start("munged", "--foreground", "--force", f"--socket={files['socket']}", *options)
        until(Path(files["socket"]).exists, "munge")

    def _start(self, name: str, *arguments: str, label: str = "") -> None:
        label = label or name
        command = [self.programs[name], *arguments]
        self.daemons[label] = Process(command, self.folder / f"{label}.log", **self.environment)

    def start_node(self, name: str) -> None:
        self._start("slurmd", "-D", "-N", name, label=name)

    def kill_node(self, name: str) -> None:
        """End slurmd and all processes of jobs on this node at once, as a machine that loses power."""
        ours = {"SLURM_CONF": self.environment["SLURM_CONF"], "SLURMD_NODENAME": name}
        jobs = [process for process in psutil.process_iter() if ours.items() <= _environment(process).items()]
        assert jobs, f"no job runs on {name}"
        steps = [parent for job in jobs if (parent := job.parent()) and parent.name() == "slurmstepd"]
        for process in [psutil.Process(self.daemons[name].process.pid), *steps, *jobs]:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def command(self, *words: str) -> str:
        """What a command of Slurm prints."""
        environment = os.environ | self.environment
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout

    def states(self) -> dict[str, str]:
        """Job id -> state, of all jobs that have not ended long ago."""
        lines = self.command("squeue", "--noheader", "--states=all", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def stop(self) -> None:
        with suppress(Exception):
            self.command("scancel", "--user", getuser(), "--signal=KILL", "--full")
        for daemon in reversed(self.daemons.values()):
            daemon.stop(signal.SIGTERM)
        shutil.rmtree(self.folder, ignore_errors=True)


def _environment(process: psutil.Process) -> dict[str, str]:
    with suppress(psutil.Error):
        return process.environ()
    return {}
