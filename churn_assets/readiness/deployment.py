"""Deployment: images, manifests and storage; secrets are in `security`."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from churn_assets.readiness import security
from churn_assets.readiness.checkout import installed_version, run_program
from churn_assets.readiness.finding import Answer, Check, Section, fails, passes, warns
from churn_assets.readiness.manifests import Document, leaves
from churn_assets.readiness.premises import not_here

if TYPE_CHECKING:
    from churn_assets.readiness.premises import Premises

IMAGES = "Docker images built and tagged"
MANIFESTS = "K8s manifests applied"
CLAIM = "PVC provisioned"

NAMESPACE = "churn-mlops"
CLAIM_NAME = "churn-mlops-pvc"
OURS = ("churn-ml", "churn-api")
DOCKERFILES = ("Dockerfile.ml", "Dockerfile.api")
BASE_FILES = (
    "namespace.yaml",
    "pvc.yaml",
    "configmap.yaml",
    "seed-model-job.yaml",
    "api-deployment.yaml",
    "api-service.yaml",
    "drift-cronjob.yaml",
    "retrain-cronjob.yaml",
)
"""In `deployment/k8s/base`; operators know them by these names."""

APPLIED = (
    "deployment/churn-api",
    "service/churn-api",
    "configmap/churn-mlops-config",
    f"persistentvolumeclaim/{CLAIM_NAME}",
    "cronjob/churn-drift-daily",
    "cronjob/churn-retrain-weekly",
)
KUBECTL_SECONDS = 10.0
_VARIABLE = re.compile(r"\$\{?[A-Za-z_]+(?::?-([^}]*))?\}?")


def dockerfiles(premises: Premises) -> Answer:
    """Whether both images can be built."""
    if premises.deployment is None:
        return not_here(premises)
    folder = premises.deployment.root / "docker"
    lacking = [name for name in DOCKERFILES if not (folder / name).is_file()]
    if lacking:
        return fails(f"deployment/docker lacks {', '.join(lacking)}", "git checkout -- deployment/docker")
    return passes(f"{' and '.join(DOCKERFILES)} are in deployment/docker")


def tags(premises: Premises) -> Answer:
    """Whether every image is named to the version, and ours to this one."""
    if premises.deployment is None:
        return not_here(premises)
    named = [(one.place, image) for one in premises.deployment.documents for image in images_of(one)]
    ours = [(place, image) for place, image in named if _repository(image).rpartition("/")[2] in OURS]
    wanted = installed_version()
    floating = [f"{image} in {place}" for place, image in named if _tag(image) in {"", "latest"}]
    stale = [f"{image} in {place}" for place, image in ours if _tag(image) not in {"", "latest", wanted}]
    if floating or stale:
        fix = f"tag them in these files: {wanted} for {' and '.join(OURS)}, a fixed version for others"
        return fails(
            "; ".join([f"floating: {one}" for one in floating] + [f"not {wanted}: {one}" for one in stale]), fix
        )
    if not ours:
        return fails(f"no file names {' or '.join(OURS)}", f"name techitfactory/{OURS[1]}:{wanted} in the manifests")
    return passes(f"{len(named)} images are tagged, {len(ours)} of ours with {wanted}")


def manifests(premises: Premises) -> Answer:
    """Whether all files are YAML, and those for a cluster are resources with a name."""
    if premises.deployment is None:
        return not_here(premises)
    broken = [f"{place} is no YAML" for place in premises.deployment.broken]
    broken += [f"{one.place} lacks {lacks}" for one in premises.deployment.resources if (lacks := _lacks(one))]
    if broken:
        return fails("; ".join(broken), f"edit {broken[0].partition(' ')[0]}")
    if not premises.deployment.resources:
        return fails("deployment/k8s holds no manifest", "git checkout -- deployment/k8s")
    files = {one.place for one in premises.deployment.documents}
    return passes(f"{len(files)} YAML files are read, {len(premises.deployment.resources)} resources are named")


def names(premises: Premises) -> Answer:
    """Whether the manifests have the names that the runbook's commands use."""
    if premises.deployment is None:
        return not_here(premises)
    base = premises.deployment.root / "k8s" / "base"
    lacking = [name for name in BASE_FILES if not (base / name).is_file()]
    if lacking:
        return fails(f"deployment/k8s/base lacks {', '.join(lacking)}", "git checkout -- deployment/k8s/base")
    return passes(f"the runbook's {len(BASE_FILES)} files are in deployment/k8s/base")


def applied(premises: Premises) -> Answer:
    """Whether the cluster has what the manifests describe; it is only asked on request."""
    if not premises.deep:
        return warns("the cluster was not asked", "churn doctor --deep --only deployment")
    line = ("kubectl", "-n", NAMESPACE, "get", *APPLIED, "-o", "name", "--request-timeout=5s")
    ran = run_program(line, Path.cwd(), KUBECTL_SECONDS)
    if ran.code:
        return fails(ran.first_line, "kubectl apply -k deployment/k8s/base")
    return passes(f"the cluster has {', '.join(APPLIED)}")


def claim(premises: Premises) -> Answer:
    """Whether storage is claimed, and the service uses it."""
    if premises.deployment is None:
        return not_here(premises)
    found = premises.deployment.resource("PersistentVolumeClaim", CLAIM_NAME)
    if found is None:
        return fails(f"no manifest claims {CLAIM_NAME}", "git checkout -- deployment/k8s/base/pvc.yaml")
    size = next((value for keys, value in leaves(found.content) if keys[-2:] == ("requests", "storage")), None)
    service = premises.deployment.resource("Deployment", "churn-api")
    if size is None:
        return fails(f"{found.place} asks for no size", "set `spec.resources.requests.storage` there")
    if service is None or CLAIM_NAME not in [
        value for keys, value in leaves(service.content) if keys[-1] == "claimName"
    ]:
        return fails(f"the deployment churn-api does not mount {CLAIM_NAME}", "name the claim in api-deployment.yaml")
    return passes(f"{CLAIM_NAME} asks for {size}, and churn-api mounts it")


def storage(premises: Premises) -> Answer:
    """Whether data and artifacts can be written, and how much room is left."""
    folders = (premises.layout.data, premises.layout.artifacts)
    absent = [str(folder) for folder in folders if not folder.is_dir()]
    if absent:
        return fails(f"not there: {', '.join(absent)}", "churn seed, or set `paths`")
    locked = [str(folder) for folder in folders if not os.access(folder, os.W_OK)]
    if locked:
        return fails(f"cannot be written: {', '.join(locked)}", f"chown -R {os.getuid()} {' '.join(locked)}")
    free = min(shutil.disk_usage(folder).free for folder in folders) / 1e9
    least = premises.settings.notify.min_free_gb
    told = f"{free:,.1f} GB are free; an alarm comes below {least:,.1f} GB"
    if free < least:
        return fails(told, "churn clean")
    return warns(told, "churn clean --dry-run") if free < 2 * least else passes(told)


def images_of(document: Document) -> Iterator[str]:
    """The images that a document names, a kustomization's new tags among them."""
    for keys, value in leaves(document.content):
        if keys[-1:] == ("image",) and isinstance(value, str):
            yield _VARIABLE.sub(lambda found: found[1] or "", value)
    listed = document.content.get("images") if isinstance(document.content, dict) else None
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and "newTag" in one:
            yield f"{one.get('newName') or one.get('name')}:{one['newTag']}"


def _repository(image: str) -> str:
    name = image.partition("@")[0]
    return name[: -len(_tag(name)) - 1] if ":" in name.rpartition("/")[2] else name


def _tag(image: str) -> str:
    """The tag, or the digest; empty if neither is given."""
    name, _, digest = image.partition("@")
    return name.rpartition("/")[2].partition(":")[2] or digest


def _lacks(document: Document) -> str:
    content = document.content if isinstance(document.content, dict) else {}
    found = {"apiVersion": content.get("apiVersion"), "kind": document.kind, "metadata.name": document.name}
    return ", ".join(name for name, value in found.items() if not value)


SECTION = Section(
    "deployment",
    "Deployment",
    (
        Check(IMAGES, "Dockerfiles", dockerfiles),
        Check(IMAGES, "tags", tags),
        Check(MANIFESTS, "valid", manifests),
        Check(MANIFESTS, "file names", names),
        Check(MANIFESTS, "in the cluster", applied),
        Check(CLAIM, "claim", claim),
        Check(CLAIM, "storage", storage),
        *security.CHECKS,
    ),
)
