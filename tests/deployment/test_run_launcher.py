"""A run on a cluster: Dagster's launcher, configured as the manifests have it, posts the Job that they promise."""

import copy
import json
import sys

import dagster as dg
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher import LaunchRunContext
from dagster._core.launcher.base import WorkerStatus
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from manifest_api import Cluster, kubeconfig, served
from manifest_files import base, containers, named, template
from manifest_security import refused

PASSWORD = "not-to-be-seen"  # noqa: S105 - of nothing
INSTANCE = named(base(), "ConfigMap", "churn-dagster-instance")["data"]
CONFIG = yaml.safe_load(INSTANCE["dagster.yaml"])
CODE = template(named(base(), "Deployment", "churn-dagster-code"))["spec"]
SEED = template(named(base(), "Job", "churn-seed-model"))["spec"]
IMAGE = next(one["value"] for one in containers(CODE)[0]["env"] if one["name"] == "DAGSTER_CURRENT_IMAGE")
NEED = {"requests": {"memory": "4Gi"}, "limits": {"memory": "6Gi"}}


@dg.job(name="retrain_job")
def any_job():
    """Stands in for a job of the code location: the launcher knows its name only."""


@pytest.fixture
def cluster():
    """A cluster without a Job."""
    return Cluster()


@pytest.fixture
def instance(cluster, tmp_path):
    """The manifests' instance, but for its database, and with its launcher pointed at the test's cluster."""
    launcher = CONFIG["run_launcher"]
    with served(cluster) as url:
        here = {"load_incluster_config": False, "kubeconfig_file": str(kubeconfig(tmp_path / "kubeconfig", url))}
        launcher = launcher | {"config": launcher["config"] | here}
        with dg.instance_for_test(overrides={"run_launcher": launcher}) as running:
            yield running


def a_run(instance, tags=None):
    """A run as the queue has it: asked for, with where its code is."""
    repository = RepositoryPythonOrigin(
        executable_path=sys.executable,
        code_pointer=ModuleCodePointer("churn_assets.definitions", "defs"),
        container_image=IMAGE,
        entry_point=["dagster"],
    )
    return instance.create_run_for_job(
        any_job,
        tags=tags or {},
        job_code_origin=JobPythonOrigin("retrain_job", repository),
        status=dg.DagsterRunStatus.STARTING,
    )


def launched(instance, cluster, tags=None):
    """The Job that a run's launch has made."""
    run = a_run(instance, tags)
    instance.run_launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
    return cluster.jobs[f"dagster-run-{run.run_id}"]


@pytest.fixture
def job(instance, cluster):
    """The Job of a run."""
    return launched(instance, cluster)


@pytest.fixture
def container(job):
    """Its one container."""
    [one] = containers(job["spec"]["template"]["spec"])
    return one


def test_it_is_dagsters_own_launcher(instance):
    from dagster_k8s import K8sRunLauncher

    assert isinstance(instance.run_launcher, K8sRunLauncher)


def test_the_job_is_in_the_namespace(job, cluster):
    assert cluster.namespaces == {"churn-mlops"}
    assert job["kind"] == "Job"


def test_the_run_is_of_the_image_of_the_code_location(container):
    assert container["image"] == IMAGE
    assert container["imagePullPolicy"] == "IfNotPresent"


def test_every_run_is_restricted(job, container):
    assert refused(job["spec"]["template"]) == []
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_run_asks_no_api(job):
    spec = job["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == "churn-jobs"
    assert spec["enableServiceLinks"] is False


def test_the_run_is_under_the_same_user_as_every_other_pod(job):
    assert job["spec"]["template"]["spec"]["securityContext"] == SEED["securityContext"]


def test_the_run_sees_the_files_that_a_job_of_the_manifests_sees(job, container):
    mine, theirs = job["spec"]["template"]["spec"], copy.deepcopy(SEED)
    assert container["volumeMounts"] == containers(theirs)[0]["volumeMounts"]
    for volume in theirs["volumes"]:  # the seed Job also runs where Dagster is not installed
        for source in volume.values():
            if isinstance(source, dict):
                source.pop("optional", None)
    assert _by_name(mine["volumes"]) == _by_name(theirs["volumes"])


def _by_name(volumes):
    return {volume["name"]: volume for volume in volumes}


def test_the_password_is_a_file_of_the_secret(job, container):
    [volume] = [one for one in job["spec"]["template"]["spec"]["volumes"] if "secret" in one]
    assert volume["secret"]["secretName"] == "churn-postgres"
    [mount] = [one for one in container["volumeMounts"] if one["name"] == volume["name"]]
    environment = named(base(), "ConfigMap", "churn-dagster-env")["data"]
    assert environment["DAGSTER_PG_PASSWORD_FILE"] == f"{mount['mountPath']}/postgresql-password"
    assert {"configMapRef": {"name": "churn-dagster-env"}} in container["envFrom"]
    assert {"secretRef": {"name": "churn-secrets", "optional": True}} in container["envFrom"]
    assert {"name": "CHURN_MLOPS_CONFIG", "value": "/app/config/config.yaml"} in container["env"]


def test_the_entry_point_of_the_image_is_kept(container):
    """It is what turns the Secret's file into what Dagster reads."""
    assert "command" not in container
    assert container["args"][:3] == ["dagster", "api", "execute_run"]


def test_the_instance_goes_along_without_its_password(tmp_path, monkeypatch):
    """Dagster writes its whole configuration into the Job's arguments, which everybody can read who sees Jobs."""
    (tmp_path / "dagster.yaml").write_text(INSTANCE["dagster.yaml"])
    for name in ("HOST", "USER", "DB", "PASSWORD"):
        monkeypatch.setenv(f"DAGSTER_PG_{name}", PASSWORD)
    sent = dg.serialize_value(InstanceRef.from_dir(str(tmp_path)))
    assert "DAGSTER_PG_PASSWORD" in sent
    assert PASSWORD not in sent


def test_nothing_waits_for_ever(job):
    spec = job["spec"]
    assert spec["activeDeadlineSeconds"] > CONFIG["run_monitoring"]["max_runtime_seconds"]
    assert spec["backoffLimit"] == 0
    assert spec["ttlSecondsAfterFinished"] == 86400
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_a_failed_run_is_a_failed_job(container):
    assert json.loads(container["args"][3])["set_exit_code_on_failure"] is True


def test_network_policies_find_the_run(job):
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert labels["churn-mlops/uses"] == "dagster"
    assert labels["app"] == "churn-run"


def test_runs_have_limits(container):
    assert {"cpu", "memory"} <= set(container["resources"]["limits"])
    assert {"cpu", "memory"} <= set(container["resources"]["requests"])


def test_a_run_may_ask_for_more_memory(instance, cluster):
    tag = {"dagster-k8s/config": json.dumps({"container_config": {"resources": NEED}})}
    job = launched(instance, cluster, tag)
    [container] = containers(job["spec"]["template"]["spec"])
    assert container["resources"]["limits"]["memory"] == "6Gi"
    assert container["resources"]["requests"]["memory"] == "4Gi"
    assert container["resources"]["limits"]["cpu"] == CONFIG["run_launcher"]["config"]["resources"]["limits"]["cpu"]
    assert refused(job["spec"]["template"]) == []


@pytest.mark.parametrize(
    "wanted",
    [
        {"container_config": {"image": "elsewhere/other:1"}},
        {"container_config": {"security_context": {"privileged": True}}},
        {"container_config": {"volume_mounts": [{"name": "x", "mount_path": "/x"}]}},
        {"pod_spec_config": {"volumes": [{"name": "x", "host_path": {"path": "/"}}]}},
        {"pod_spec_config": {"service_account_name": "churn-dagster"}},
        {"pod_spec_config": {"host_network": True}},
        {"job_spec_config": {"active_deadline_seconds": 10**9}},
    ],
    ids=lambda wanted: json.dumps(wanted)[:60],
)
def test_a_run_may_ask_for_nothing_else(wanted, instance, cluster):
    with pytest.raises(Exception, match="violated the allowed list"):
        launched(instance, cluster, {"dagster-k8s/config": json.dumps(wanted)})
    assert not cluster.jobs


def test_a_run_whose_pod_died_is_found_out(instance, cluster):
    run = a_run(instance)
    launcher = instance.run_launcher
    launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
    job = cluster.jobs[f"dagster-run-{run.run_id}"]
    job["status"] = {"active": 1}
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    job["status"] = {"failed": 1}
    assert launcher.check_run_worker_health(run).status is WorkerStatus.FAILED


def test_the_role_permits_what_the_launcher_asks_for_and_no_more(instance, cluster):
    run = a_run(instance)
    launcher, name = instance.run_launcher, f"dagster-run-{run.run_id}"
    launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
    cluster.jobs[name]["status"] = {"active": 1}
    cluster.add_pod(f"{name}-abcde", name)
    cluster.logs = "what it printed"
    launcher.check_run_worker_health(run)
    assert "what it printed" in launcher.get_run_worker_debug_info(run)
    assert launcher.terminate(run.run_id)
    assert not cluster.jobs
    launcher.get_run_worker_debug_info(run)  # of a Job that is gone
    permitted = {
        (group, resource, verb)
        for rule in named(base(), "Role", "churn-dagster-runs")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert cluster.asked == permitted - {("", "pods", "get")}
