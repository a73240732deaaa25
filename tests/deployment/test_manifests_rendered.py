"""The manifests as the tools of the trade see them: kustomize, the API's own schemas, checkov."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from manifest_files import (
    BASE,
    FILES,
    K8S,
    OVERLAYS,
    base,
    containers,
    documents,
    identity,
    kubectl,
    named,
    rendered,
    template,
    with_pods,
)
from manifest_security import refused
from outside_programs import checker

VERSIONS = ("1.29", "1.37")
"""The oldest Kubernetes that is supported, and the newest whose schemas are here."""

WITHOUT_SCHEMA = {"ServiceMonitor", "PrometheusRule"}
"""Kinds that are not Kubernetes' own."""

UNJUDGED = re.compile(r"Couldn't find schema for kind (\w+) ")


def found_in(path):
    """What is wrong with the objects of a file, by each version; a field that the API does not know is."""
    versions = [word for version in VERSIONS for word in ("-k", version)]
    line = [checker("kubernetes-validate"), *versions, "--strict", "--quiet", path]
    told = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    wrong = [line for line in told.stdout.splitlines() if not line.startswith("WARN")]
    assert bool(wrong) == bool(told.returncode), told
    assert set(UNJUDGED.findall(told.stdout)) <= WITHOUT_SCHEMA
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(K8S)))
def test_every_file_is_valid(path):
    assert found_in(path) == []


def test_an_unknown_field_is_found(tmp_path):
    spoiled = named(base(), "Deployment", "churn-api")
    template(spoiled)["spec"]["replicaz"] = 2
    (tmp_path / "spoiled.yaml").write_text(yaml.safe_dump(spoiled))
    wrong = found_in(tmp_path / "spoiled.yaml")
    assert len(wrong) == len(VERSIONS)
    assert all("'replicaz' was unexpected" in line for line in wrong)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_are_restricted(overlay):
    objects = rendered(overlay)
    assert {identity(one) for one in base()} - {"Job/churn-seed-model"} <= {identity(one) for one in objects}
    assert not [identity(one) for one in objects if one["kind"] in {"Secret", "Job"}]
    for one in with_pods(objects):
        assert refused(template(one)) == [], identity(one)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_are_valid(overlay, tmp_path):
    (tmp_path / "rendered.yaml").write_text(yaml.safe_dump_all(rendered(overlay)))
    assert found_in(tmp_path / "rendered.yaml") == []


def test_minikube_enforces_baseline_and_warns_at_restricted():
    labels = named(rendered("minikube"), "Namespace", "churn-mlops")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "baseline"
    assert labels["pod-security.kubernetes.io/warn"] == "restricted"
    named(rendered("minikube"), "StatefulSet", "churn-postgres")


def test_production_enforces_restricted_and_shares_its_storage():
    objects = rendered("production")
    labels = named(objects, "Namespace", "churn-mlops")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert named(objects, "PersistentVolumeClaim", "churn-mlops-pvc")["spec"]["accessModes"] == ["ReadWriteMany"]
    assert not [one for one in objects if one["kind"] == "StatefulSet"]
    assert named(objects, "ConfigMap", "churn-dagster-env")["data"]["PGSSLMODE"] != "prefer"


def test_the_service_of_production_asks_for_keys_and_writes_its_log_alone():
    api = named(rendered("production"), "Deployment", "churn-api")
    container = containers(template(api)["spec"])[0]
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert environment["CHURN_SERVING__ALLOW_ANONYMOUS"] == "false"
    keys = Path(environment["CHURN_SERVING__API_KEYS_FILE"])
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert str(keys.parent) in mounts
    writable = {path for path, mount in mounts.items() if not mount.get("readOnly")}
    assert writable == {"/app/data/predictions/log", "/tmp"}  # noqa: S108 - a pod's own
    assert "replicas" not in api["spec"]  # the autoscaler's business
    assert named(rendered("production"), "HorizontalPodAutoscaler", "churn-api")["spec"]["minReplicas"] >= 2


def test_one_place_changes_every_image(tmp_path):
    """A registry and a version of one's own, in the release alone: runs follow."""
    shutil.copytree(K8S, tmp_path / "k8s")
    release = tmp_path / "k8s" / "components" / "release" / "kustomization.yaml"
    content = yaml.safe_load(release.read_text())
    for image in content["images"]:
        image |= {"newName": f"registry.example/{image['name']}", "newTag": "9.9.9"}
    release.write_text(yaml.safe_dump(content))
    overlay = tmp_path / "k8s" / "overlays" / "production"
    text = subprocess.run(
        [kubectl(), "kustomize", overlay], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    assert "0.1.4" not in text
    code = containers(template(named(list(yaml.safe_load_all(text)), "Deployment", "churn-dagster-code"))["spec"])[0]
    assert code["image"] == "registry.example/techitfactory/churn-ml:9.9.9"
    assert {"name": "DAGSTER_CURRENT_IMAGE", "value": code["image"]} in code["env"]


def test_monitoring_can_be_added(tmp_path):
    shutil.copytree(K8S, tmp_path / "k8s")
    path = tmp_path / "k8s" / "overlays" / "production" / "kustomization.yaml"
    path.write_text(path.read_text().replace("# - ../../components/monitoring", "- ../../components/monitoring"))
    text = subprocess.run(
        [kubectl(), "kustomize", path.parent], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    named(list(yaml.safe_load_all(text)), "ServiceMonitor", "churn-api")


def checked(folder, files):
    """What checkov says of some files, with this project's exceptions."""
    line = [checker("checkov"), "--config-file", K8S.parent / "checkov.yaml", "-o", "json"]
    for number, file in enumerate(files):
        (folder / f"{number}.yaml").write_text(yaml.safe_dump_all(file))
        line += ["-f", folder / f"{number}.yaml"]
    told = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    return json.loads(told.stdout)


def test_checkov_has_nothing_to_say(tmp_path):
    report = checked(tmp_path, [documents(path) for path in FILES] + [rendered(overlay) for overlay in OVERLAYS])
    assert report["summary"]["failed"] == 0, [one["check_id"] for one in report["results"]["failed_checks"]]
    assert report["summary"]["passed"] > 500


def test_checkov_looks(tmp_path):
    spoiled = documents(BASE / "api-deployment.yaml")[0]
    del template(spoiled)["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    report = checked(tmp_path, [[spoiled]])
    assert "CKV_K8S_22" in {one["check_id"] for one in report["results"]["failed_checks"]}


def test_every_exception_has_a_reason():
    lines = (K8S.parent / "checkov.yaml").read_text(encoding="utf-8").splitlines()
    skipped = [number for number, line in enumerate(lines) if line.strip().startswith("- CKV")]
    assert skipped
    assert all(lines[number - 1].strip().startswith("# ") for number in skipped)
    for one in (document for path in FILES for document in documents(path)):
        for name, value in (one["metadata"].get("annotations") or {}).items():
            if name.startswith("checkov.io/skip"):
                assert len(value.partition("=")[2]) > 20, identity(one)
