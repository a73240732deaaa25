"""A command's run on a cluster: it is left alone while its pod lives, and failed when that has gone."""

import logging

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._daemon.monitoring.run_monitoring import monitor_started_run
from manifest_api import Cluster, kubeconfig, served

from churn_assets.automation.launch import PROCESS
from churn_assets.automation.pod_runs import PodRunLauncher

POD = "retrain-manual-1-abcde"


@dg.job
def any_job():
    """Stands in for a job of the code location."""


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
def instance(cluster, tmp_path):
    with served(cluster) as url:
        config = {
            "job_namespace": "churn-mlops",
            "service_account_name": "churn-jobs",
            "instance_config_map": "churn-dagster-instance",
            "dagster_home": "/opt/dagster",
            "load_incluster_config": False,
            "kubeconfig_file": str(kubeconfig(tmp_path / "kubeconfig", url)),
        }
        launcher = {"module": PodRunLauncher.__module__, "class": "PodRunLauncher", "config": config}
        with dg.instance_for_test(overrides={"run_launcher": launcher, "run_monitoring": {"enabled": True}}) as running:
            yield running


def looked_at(instance, tags):
    """A started run's status after the daemon has looked at it."""
    run = instance.create_run_for_job(any_job, tags=tags, status=dg.DagsterRunStatus.STARTED)
    monitor_started_run(instance, None, instance.get_run_record_by_id(run.run_id), logging.getLogger("test"))
    return instance.get_run_by_id(run.run_id).status


def test_a_run_of_a_command_whose_pod_lives_is_left_alone(instance, cluster):
    cluster.add_pod(POD)
    assert looked_at(instance, {PROCESS: f"{POD}:7"}) is dg.DagsterRunStatus.STARTED


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_run_whose_pod_has_ended_has_failed(instance, cluster, phase):
    cluster.add_pod(POD, phase=phase)
    assert looked_at(instance, {PROCESS: f"{POD}:7"}) is dg.DagsterRunStatus.FAILURE


def test_a_run_whose_pod_is_gone_has_failed(instance):
    assert looked_at(instance, {PROCESS: f"{POD}:7"}) is dg.DagsterRunStatus.FAILURE


def test_a_run_of_its_own_pod_is_looked_for_as_ever(instance, cluster):
    run = instance.create_run_for_job(any_job, status=dg.DagsterRunStatus.STARTED)
    name = f"dagster-run-{run.run_id}"
    cluster.jobs[name] = {"metadata": {"name": name, "labels": {}}, "status": {"active": 1}}
    assert instance.run_launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    assert looked_at(instance, {}) is dg.DagsterRunStatus.FAILURE  # its Job is not there


def test_a_cluster_that_does_not_answer_fails_nothing(instance, cluster):
    cluster.answer = lambda *_: (403, {"kind": "Status", "code": 403})
    assert looked_at(instance, {PROCESS: f"{POD}:7"}) is dg.DagsterRunStatus.STARTED
