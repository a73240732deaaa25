"""Runs of commands that were killed are brought to an end by the next command."""

import os
import socket
import subprocess
import sys

import dagster as dg

from churn_assets.automation.launch import PROCESS, _end_orphans


@dg.op
def nothing():
    """Do nothing."""


@dg.job
def idle():
    """Do nothing."""
    nothing()


def status_after(instance, host, process):
    tags = {PROCESS: f"{host}:{process}"}
    run = instance.create_run_for_job(idle, status=dg.DagsterRunStatus.STARTED, tags=tags)
    _end_orphans(instance)
    return instance.get_run_by_id(run.run_id).status


def dead_process():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_only_the_run_of_a_dead_process_on_this_machine_is_ended():
    with dg.instance_for_test() as instance:
        assert status_after(instance, socket.gethostname(), dead_process()) is dg.DagsterRunStatus.FAILURE
        assert status_after(instance, socket.gethostname(), os.getpid()) is dg.DagsterRunStatus.STARTED
        assert status_after(instance, "another-machine", dead_process()) is dg.DagsterRunStatus.STARTED
