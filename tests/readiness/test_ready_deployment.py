"""Deployment: images, manifests, storage."""

import os
import shutil
from typing import NamedTuple

import pytest
from readiness_world import VERSION

from churn_assets.readiness import automation, deployment, monitoring, security
from churn_assets.readiness.manifests import Document

OF_FILES = (
    deployment.dockerfiles,
    deployment.tags,
    deployment.manifests,
    deployment.names,
    deployment.claim,
    security.files,
    monitoring.scraping,
    monitoring.dashboard,
    monitoring.rules,
    automation.cronjobs,
    automation.documented,
)
BASE = "deployment/k8s/base"


class Usage(NamedTuple):
    free: int


@pytest.mark.parametrize("check", OF_FILES)
def test_a_deployment_in_order_passes(checked_out, check):
    assert checked_out.ask(check).outcome == "pass"


@pytest.mark.parametrize("check", OF_FILES)
def test_where_its_files_are_not_here_every_check_warns(checked_out, check):
    shutil.rmtree(checked_out.source.root / "deployment")
    assert checked_out.ask(check).outcome == "warn"
    checked_out.source = None
    assert "checkout" in checked_out.ask(check).fix


def test_an_image_that_cannot_be_built_fails(checked_out):
    checked_out.source.remove("deployment/docker/Dockerfile.api")
    assert "Dockerfile.api" in checked_out.ask(deployment.dockerfiles).found


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        ("techitfactory/churn-api:latest", "floating"),
        ("techitfactory/churn-api", "floating"),
        ("registry:5000/churn-api", "floating"),
        ("techitfactory/churn-api:0.0.9", f"not {VERSION}"),
        ("techitfactory/churn-api:${VER:-0.0.9}", f"not {VERSION}"),
        ("techitfactory/churn-api:$VER", "floating"),
        ("busybox", "floating"),
    ],
)
def test_an_image_without_a_version_or_with_another_fails(checked_out, image, complaint):
    checked_out.source.edit(f"{BASE}/api-deployment.yaml", f"techitfactory/churn-api:{VERSION}", image)
    answer = checked_out.ask(deployment.tags)
    assert answer.outcome == "fail"
    assert complaint in answer.found
    assert "api-deployment.yaml" in answer.found


@pytest.mark.parametrize("image", [f"registry:5000/churn-api:{VERSION}", "busybox@sha256:" + "0" * 64])
def test_a_fixed_image_passes(checked_out, image):
    checked_out.source.edit(f"{BASE}/api-deployment.yaml", f"techitfactory/churn-api:{VERSION}", image)
    assert checked_out.ask(deployment.tags).outcome == "pass"


def test_the_tags_of_a_kustomization_count(checked_out):
    text = "images:\n  - {name: techitfactory/churn-api, newTag: latest}\n"
    checked_out.source.write("deployment/k8s/overlays/large/kustomization.yaml", text)
    assert "techitfactory/churn-api:latest" in checked_out.ask(deployment.tags).found
    assert list(deployment.images_of(Document("x", [1, {"image": {"tag": "1"}}]))) == []


def test_manifests_that_name_none_of_our_images_fail(checked_out):
    for name in ("k8s/base/api-deployment.yaml", "k8s/base/seed-model-job.yaml", "compose.yaml"):
        checked_out.source.remove(f"deployment/{name}")
    assert "no file names churn-ml or churn-api" in checked_out.ask(deployment.tags).found


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("kind: Service", "kind: [", "is no YAML"),
        ("kind: Service\n", "", "lacks kind"),
        ("apiVersion: v1\n", "", "lacks apiVersion"),
        ("metadata: {name: churn-api}", "metadata: {}", "lacks metadata.name"),
        ("metadata: {name: churn-api}", "metadata: churn-api", "lacks metadata.name"),
    ],
)
def test_a_manifest_that_is_no_resource_fails_and_is_named(checked_out, old, new, complaint):
    checked_out.source.edit(f"{BASE}/api-service.yaml", old, new)
    answer = checked_out.ask(deployment.manifests)
    assert answer.outcome == "fail"
    assert complaint in answer.found
    assert answer.fix.endswith("api-service.yaml") or answer.fix.endswith("api-service.yaml,")


def test_a_runbook_name_that_is_missing_fails(checked_out):
    checked_out.source.remove(f"{BASE}/pvc.yaml")
    assert "pvc.yaml" in checked_out.ask(deployment.names).found
    assert checked_out.ask(deployment.claim).outcome == "fail"


def test_a_claim_needs_a_size_and_somebody_who_mounts_it(checked_out):
    checked_out.source.edit(f"{BASE}/api-deployment.yaml", "claimName: churn-mlops-pvc", "claimName: other")
    assert "does not mount" in checked_out.ask(deployment.claim).found
    checked_out.source.edit(f"{BASE}/pvc.yaml", "{storage: 5Gi}", "{}")
    assert "no size" in checked_out.ask(deployment.claim).found


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """Put a `kubectl` on the path that does what it is told."""

    def put(script):
        path = tmp_path / "bin" / "kubectl"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")

    return put


def test_the_cluster_is_asked_only_on_request(place, kubectl, tmp_path):
    kubectl(f'printf "%s " "$@" > {tmp_path}/asked')
    assert place.ask(deployment.applied).outcome == "warn"
    assert not (tmp_path / "asked").exists()
    place.deep = True
    assert place.ask(deployment.applied).outcome == "pass"
    asked = (tmp_path / "asked").read_text()
    assert "-n churn-mlops get" in asked
    assert "cronjob/churn-retrain-weekly" in asked


def test_what_the_cluster_lacks_fails(place, kubectl):
    kubectl("echo 'Error from server (NotFound): services \"churn-api\" not found' >&2; exit 1")
    place.deep = True
    answer = place.ask(deployment.applied)
    assert answer.outcome == "fail"
    assert "NotFound" in answer.found


@pytest.mark.parametrize(("free_gb", "outcome"), [(100, "pass"), (3, "warn"), (1, "fail")])
def test_storage_must_have_room(place, monkeypatch, free_gb, outcome):
    monkeypatch.setattr(deployment.shutil, "disk_usage", lambda _: Usage(free_gb * 10**9))
    place.layout.data.mkdir(parents=True)
    place.layout.artifacts.mkdir(parents=True)
    answer = place.configure(notify={"min_free_gb": 2}).ask(deployment.storage)
    assert answer.outcome == outcome
    assert f"{free_gb}.0 GB" in answer.found


def test_storage_must_be_there_and_take_files(place, monkeypatch):
    assert "not there" in place.ask(deployment.storage).found
    place.layout.data.mkdir(parents=True)
    place.layout.artifacts.mkdir(parents=True)
    monkeypatch.setattr(deployment.os, "access", lambda folder, _: folder != place.layout.artifacts)
    answer = place.ask(deployment.storage)
    assert answer.outcome == "fail"
    assert str(place.layout.artifacts) in answer.found
