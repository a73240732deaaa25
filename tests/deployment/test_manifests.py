"""The manifests: what the contract names is there, what they name exists, and no pod may more than it must."""

import tomllib

import pytest
import yaml
from manifest_files import (
    BASE,
    FILES,
    K8S,
    NAMESPACE,
    ROOT,
    base,
    containers,
    documents,
    everything,
    identity,
    named,
    resources,
    template,
    with_pods,
)
from manifest_security import refused

from churn_assets.settings import Settings
from churn_serving.settings import CONFIG_VARIABLE, read_settings

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
OURS = ("techitfactory/churn-ml", "techitfactory/churn-api")
CONTRACT = {
    "namespace.yaml": ("Namespace", "churn-mlops"),
    "pvc.yaml": ("PersistentVolumeClaim", "churn-mlops-pvc"),
    "configmap.yaml": ("ConfigMap", "churn-mlops-config"),
    "seed-model-job.yaml": ("Job", "churn-seed-model"),
    "api-deployment.yaml": ("Deployment", "churn-api"),
    "api-service.yaml": ("Service", "churn-api"),
    "drift-cronjob.yaml": ("CronJob", "churn-drift-daily"),
    "retrain-cronjob.yaml": ("CronJob", "churn-retrain-weekly"),
    "batch-cronjob.yaml": ("CronJob", "churn-batch-score"),
}
CRONJOBS = {
    "churn-drift-daily": ("drift", ["churn", "drift"]),
    "churn-batch-score": ("batch", ["churn", "score"]),
    "churn-retrain-weekly": ("retrain", ["churn", "retrain"]),
}
BY_OPERATOR = {"churn-postgres", "churn-api-keys", "churn-secrets", "churn-api-tls"}
"""Secrets that are made by hand, or by what the cluster has for that."""

PODS = {identity(one): one for one in with_pods(everything())}
LONG_RUNNING = {name: one for name, one in PODS.items() if one["kind"] in {"Deployment", "StatefulSet"}}


def dagster_config():
    """The cluster's `dagster.yaml`."""
    return yaml.safe_load(named(base(), "ConfigMap", "churn-dagster-instance")["data"]["dagster.yaml"])


@pytest.mark.parametrize(("file", "holds"), CONTRACT.items())
def test_the_names_of_the_contract(file, holds):
    named(documents(BASE / file), *holds)


def test_no_file_of_the_base_is_forgotten():
    there = {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert there - set(resources()) == {"seed-model-job.yaml"}
    assert set(resources()) <= there


def test_a_single_file_finds_its_namespace():
    for one in everything():
        if one["kind"] == "Namespace":
            assert one["metadata"]["name"] == NAMESPACE
        else:
            assert one["metadata"].get("namespace") == NAMESPACE, identity(one)


def test_an_object_is_made_once():
    names = [identity(one) for one in base()]
    assert len(names) == len(set(names))


def test_one_version_everywhere():
    tags = {one["image"] for pod in PODS.values() for one in containers(template(pod)["spec"])}
    assert {image for image in tags if image.startswith("techitfactory/")} == {f"{name}:{VERSION}" for name in OURS}
    assert not [image for image in tags if ":" not in image or image.endswith(":latest")]
    release = documents(K8S / "components" / "release" / "kustomization.yaml")[0]
    assert {(one["name"], one["newTag"]) for one in release["images"]} == {(name, VERSION) for name in OURS}


def test_runs_have_the_image_of_the_code_location():
    code = containers(template(PODS["Deployment/churn-dagster-code"])["spec"])[0]
    assert {"name": "DAGSTER_CURRENT_IMAGE", "value": code["image"]} in code["env"]


@pytest.mark.parametrize("one", PODS.values(), ids=PODS)
def test_every_pod_is_restricted(one):
    assert refused(template(one)) == []


@pytest.mark.parametrize("one", PODS.values(), ids=PODS)
def test_every_pod_is_confined_further(one):
    spec = template(one)["spec"]
    assert spec["securityContext"]["runAsUser"] >= 999
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]
    for container in containers(spec):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])
    mounts = {mount["mountPath"]: mount["name"] for mount in containers(spec)[0]["volumeMounts"]}
    tmp = next(volume for volume in spec["volumes"] if volume["name"] == mounts["/tmp"])  # noqa: S108 - a pod's own
    assert "sizeLimit" in tmp["emptyDir"]


@pytest.mark.parametrize("one", LONG_RUNNING.values(), ids=LONG_RUNNING)
def test_what_runs_for_long_is_watched(one):
    container = containers(template(one)["spec"])[0]
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)


def test_jobs_end_and_are_cleaned_away():
    jobs = [one["spec"]["jobTemplate"]["spec"] if one["kind"] == "CronJob" else one["spec"] for one in PODS.values()]
    jobs = [job for job in jobs if "backoffLimit" in job]
    assert len(jobs) == 4
    longest = dagster_config()["run_monitoring"]["max_runtime_seconds"]
    assert {job["activeDeadlineSeconds"] for job in jobs} == {longest}
    assert all(job["ttlSecondsAfterFinished"] > 0 for job in jobs)


def test_a_token_is_where_a_role_is():
    bound = {(who["name"]) for one in everything() if one["kind"] == "RoleBinding" for who in one["subjects"]}
    for one in PODS.values():
        spec = template(one)["spec"]
        assert spec["automountServiceAccountToken"] is (spec["serviceAccountName"] in bound), identity(one)
    accounts = [one for one in everything() if one["kind"] == "ServiceAccount"]
    assert all(one["automountServiceAccountToken"] is False for one in accounts)


def test_what_pods_name_exists():
    objects = everything()
    there = {
        kind: {one["metadata"]["name"] for one in objects if one["kind"] == kind}
        for kind in {o["kind"] for o in objects}
    }
    for one in PODS.values():
        spec = template(one)["spec"]
        assert spec["serviceAccountName"] in there["ServiceAccount"]
        used = _used(spec)
        assert used["claim"] <= there["PersistentVolumeClaim"], identity(one)
        assert used["config"] <= there["ConfigMap"], identity(one)
        assert used["secret"] <= BY_OPERATOR, identity(one)
        for container in containers(spec):
            assert {mount["name"] for mount in container["volumeMounts"]} <= _volumes(one), identity(one)


def _used(spec):
    """The claims, ConfigMaps and Secrets that a pod names."""
    volumes, sources = spec["volumes"], [one for container in containers(spec) for one in container.get("envFrom", [])]
    keys = [
        one["valueFrom"] for container in containers(spec) for one in container.get("env", []) if "valueFrom" in one
    ]
    secrets = [one["secretKeyRef"]["name"] for one in keys] + [
        one["secretRef"]["name"] for one in sources if "secretRef" in one
    ]
    configs = [one["configMapRef"]["name"] for one in sources if "configMapRef" in one]
    return {
        "claim": {one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one},
        "config": {one["configMap"]["name"] for one in volumes if "configMap" in one} | set(configs),
        "secret": {one["secret"]["secretName"] for one in volumes if "secret" in one} | set(secrets),
    }


def _volumes(one):
    claimed = {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", [])}
    return claimed | {volume["name"] for volume in template(one)["spec"]["volumes"]}


def test_the_way_to_make_each_secret_is_written_down():
    text = (K8S / "README.md").read_text(encoding="utf-8")
    for name in BY_OPERATOR - {"churn-api-tls"}:
        assert f"create secret generic {name} " in text
    assert "churn-api-tls" in (K8S / "examples" / "ingress" / "ingress.yaml").read_text(encoding="utf-8")


def test_no_secret_is_in_git():
    assert not [identity(one) for one in everything() if one["kind"] == "Secret"]
    assert dagster_config()["storage"]["postgres"]["postgres_db"]["password"] == {"env": "DAGSTER_PG_PASSWORD"}
    for one in PODS.values():
        for container in containers(template(one)["spec"]):
            plain = {env["name"] for env in container.get("env", []) if "value" in env}
            secret = [name for name in plain if {"PASSWORD", "KEY", "TOKEN"} & set(name.split("_"))]
            assert not [name for name in secret if not name.endswith("_FILE")]


def test_services_find_their_pods():
    pods = [template(one) for one in PODS.values()]
    for one in everything():
        if one["kind"] == "Service":
            chosen = [pod for pod in pods if one["spec"]["selector"].items() <= pod["metadata"]["labels"].items()]
            assert len(chosen) == 1, identity(one)
            ports = {port["name"]: port["containerPort"] for port in containers(chosen[0]["spec"])[0]["ports"]}
            assert [ports[port["targetPort"]] for port in one["spec"]["ports"]] == [
                p["port"] for p in one["spec"]["ports"]
            ]


def test_the_service_is_where_clients_look():
    service = named(base(), "Service", "churn-api")
    assert service["spec"]["selector"] == {"app": "churn-api"}
    assert [port["port"] for port in service["spec"]["ports"]] == [8000]


def test_nobody_talks_unless_allowed():
    policies = [one for one in everything() if one["kind"] == "NetworkPolicy"]
    deny = named(policies, "NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    labels = [template(one)["metadata"]["labels"] for one in PODS.values()]
    labels.append(dagster_config()["run_launcher"]["config"]["labels"])
    for policy in policies:
        for selector in _own_pods(policy["spec"]):
            assert any(_chosen(selector, one) for one in labels), (identity(policy), selector)


def _own_pods(spec):
    """Every selector of pods in this namespace that a policy has."""
    yield spec["podSelector"]
    for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
        for peer in [*rule.get("from", []), *rule.get("to", [])]:
            if "podSelector" in peer and "namespaceSelector" not in peer:
                yield peer["podSelector"]


def _chosen(selector, labels):
    exact = selector.get("matchLabels", {}).items() <= labels.items()
    return exact and all(labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", []))


def test_what_dagster_needs_is_allowed():
    """The daemon and the webserver reach the code location, runs the database and the names: by their labels."""
    uses = {"churn-mlops/uses": "dagster"}
    pods = [
        template(one)["metadata"]["labels"]
        for name, one in PODS.items()
        if "postgres" not in name and "api" not in name
    ]
    assert all(uses.items() <= one.items() for one in pods)
    assert uses.items() <= dagster_config()["run_launcher"]["config"]["labels"].items()


@pytest.mark.parametrize(("name", "what"), CRONJOBS.items())
def test_cronjobs_are_templates_of_commands(name, what):
    setting, command = what
    job = named(base(), "CronJob", name)["spec"]
    assert job["suspend"] is True
    assert containers(job["jobTemplate"]["spec"]["template"]["spec"])[0]["args"] == command
    config = _config()
    assert job["schedule"] == getattr(config.schedules, setting)
    assert job["timeZone"] == "Etc/UTC"
    assert config.schedules.timezone == "UTC"


def test_a_drift_alert_is_not_asked_for_again():
    job = named(base(), "CronJob", "churn-drift-daily")["spec"]["jobTemplate"]["spec"]
    assert job["backoffLimit"] == 0
    assert job["template"]["spec"]["restartPolicy"] == "Never"


def _config():
    """The settings that the ConfigMap's file makes."""
    content = yaml.safe_load(named(base(), "ConfigMap", "churn-mlops-config")["data"]["config.yaml"])
    return Settings.model_validate(content)


def test_the_configuration_is_accepted(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(named(base(), "ConfigMap", "churn-mlops-config")["data"]["config.yaml"])
    settings = read_settings(Settings, {CONFIG_VARIABLE: str(path)})
    assert settings.serving.host == "0.0.0.0"  # noqa: S104 - it is a pod's
    assert settings.serving.allow_anonymous
    name = settings.serving.servers[0].removeprefix("http://").removesuffix(":8000")
    assert named(base(), "Service", name)["spec"]["clusterIP"] == "None"


def test_every_pod_of_ours_has_the_files_where_the_configuration_says():
    for one in PODS.values():
        spec = template(one)["spec"]
        container = containers(spec)[0]
        environment = {env["name"]: env.get("value") for env in container.get("env", [])}
        if CONFIG_VARIABLE in environment:
            mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
            assert environment[CONFIG_VARIABLE] == "/app/config/config.yaml"
            assert "subPath" not in mounts["/app/config"]  # it would not follow an edit of the ConfigMap
            assert {mounts[f"/app/{name}"]["subPath"] for name in ("data", "artifacts")} == {"data", "artifacts"}


def test_the_service_outlives_its_requests():
    spec = template(named(base(), "Deployment", "churn-api"))["spec"]
    pause = int(spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert spec["terminationGracePeriodSeconds"] > pause + _config().serving.shutdown_seconds


def test_there_is_one_daemon():
    spec = named(base(), "Deployment", "churn-dagster-daemon")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_the_queue_is_that_of_one_machine():
    here = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    there = dagster_config()
    for section in ("concurrency", "retention", "run_retries"):
        assert there[section] == here[section]
    assert there["run_monitoring"]["max_runtime_seconds"] == here["run_monitoring"]["max_runtime_seconds"]


def test_the_operator_gets_the_rules_that_compose_has():
    """Else: run deployment/k8s/components/monitoring/prometheus_rule.py again."""
    rule = documents(K8S / "components" / "monitoring" / "prometheus-rule.yaml")[0]
    files = sorted((ROOT / "deployment" / "monitoring" / "prometheus" / "rules").glob("*.yml"))
    assert rule["spec"]["groups"] == [group for one in documents(*files) for group in one["groups"]]


def test_what_is_scraped_is_the_service():
    monitor = documents(K8S / "components" / "monitoring" / "service-monitor.yaml")[0]["spec"]
    wanted = monitor["selector"]["matchLabels"].items()
    services = [one for one in base() if one["kind"] == "Service" and wanted <= one["metadata"]["labels"].items()]
    assert [one["metadata"]["name"] for one in services] == ["churn-api"]  # the job's name, which the rules count on


def test_files_were_found():
    assert len(FILES) > 20
