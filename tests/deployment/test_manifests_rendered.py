"""The manifests as the tools of the trade see them: kustomize, the API's own schemas, checkov.

kubectl and checkov are no packages of this project: their tests run where these are on the path.
"""

import json
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

CHECKOV = shutil.which("checkov")
OF_OPERATOR = {"ServiceMonitor", "PrometheusRule", "Kustomization", "Component"}
"""Kinds whose schemas are not Kubernetes' own."""

needs_kubectl = pytest.mark.skipif(kubectl() is None, reason="no kubectl that can render the overlays")
needs_checkov = pytest.mark.skipif(CHECKOV is None, reason="checkov is not installed")


def valid(objects, version):
    """Raise unless every object is valid, with no field that the API does not know."""
    validate = pytest.importorskip("kubernetes_validate")
    for one in objects:
        if one["kind"] not in OF_OPERATOR:
            validate.validate(one, version, strict=True)


def versions():
    """The oldest version that is supported, and the newest whose schemas are here."""
    return ("1.29", pytest.importorskip("kubernetes_validate").latest_version())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(K8S)))
def test_every_file_is_valid(path):
    for version in versions():
        valid(documents(path), version)


def test_an_unknown_field_is_found():
    validate = pytest.importorskip("kubernetes_validate")
    spoiled = named(base(), "Deployment", "churn-api")
    template(spoiled)["spec"]["replicaz"] = 2
    with pytest.raises(validate.ValidationError):
        valid([spoiled], "1.29")


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_are_restricted(overlay):
    objects = rendered(overlay)
    assert {identity(one) for one in base()} - {"Job/churn-seed-model"} <= {identity(one) for one in objects}
    assert not [identity(one) for one in objects if one["kind"] in {"Secret", "Job"}]
    for one in with_pods(objects):
        assert refused(template(one)) == [], identity(one)


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_are_valid(overlay):
    for version in versions():
        valid(rendered(overlay), version)


@needs_kubectl
def test_minikube_enforces_baseline_and_warns_at_restricted():
    labels = named(rendered("minikube"), "Namespace", "churn-mlops")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "baseline"
    assert labels["pod-security.kubernetes.io/warn"] == "restricted"
    named(rendered("minikube"), "StatefulSet", "churn-postgres")


@needs_kubectl
def test_production_enforces_restricted_and_shares_its_storage():
    objects = rendered("production")
    labels = named(objects, "Namespace", "churn-mlops")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert named(objects, "PersistentVolumeClaim", "churn-mlops-pvc")["spec"]["accessModes"] == ["ReadWriteMany"]
    assert not [one for one in objects if one["kind"] == "StatefulSet"]
    assert named(objects, "ConfigMap", "churn-dagster-env")["data"]["PGSSLMODE"] != "prefer"


@needs_kubectl
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


@needs_kubectl
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


@needs_kubectl
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
    line = [CHECKOV, "--config-file", K8S.parent / "checkov.yaml", "-o", "json"]
    for number, file in enumerate(files):
        (folder / f"{number}.yaml").write_text(yaml.safe_dump_all(file))
        line += ["-f", folder / f"{number}.yaml"]
    told = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    return json.loads(told.stdout)


@needs_checkov
def test_checkov_has_nothing_to_say(tmp_path):
    files = [documents(path) for path in FILES]
    if kubectl():
        files += [rendered(overlay) for overlay in OVERLAYS]
    report = checked(tmp_path, files)
    assert report["summary"]["failed"] == 0, [one["check_id"] for one in report["results"]["failed_checks"]]
    assert report["summary"]["passed"] > 500


@needs_checkov
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
