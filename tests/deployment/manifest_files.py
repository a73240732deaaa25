"""The manifests as Python sees them: every object of a file, of the base, of a rendered overlay."""

import copy
import functools
import re
import subprocess
from pathlib import Path

import yaml
from outside_programs import checker, lacking

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "deployment" / "k8s"
BASE = K8S / "base"
OVERLAYS = ("minikube", "production")
NAMESPACE = "churn-mlops"
FILES = sorted(path for path in K8S.rglob("*.yaml") if path.name != "kustomization.yaml" and "patch" not in path.name)
"""Every file of whole objects; patches are checked in what they make of them."""

WITH_PODS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")
MINIMUM_KUBECTL = (1, 21)
"""Older ones carry a kustomize that knows neither components nor replacements."""


@functools.cache
def _documents(path):
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]


def documents(*paths):
    """Every object of some files."""
    return copy.deepcopy([one for path in paths for one in _documents(path)])


def base():
    """Every object of the base, with the seed Job."""
    return documents(*(BASE / name for name in resources()), BASE / "seed-model-job.yaml")


def resources():
    """The files that the base's kustomization lists."""
    return _documents(BASE / "kustomization.yaml")[0]["resources"]


def everything():
    """Every whole object of every file."""
    return documents(*FILES)


def named(objects, kind, name):
    """The one object of a kind and name."""
    found = [one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name]
    assert len(found) == 1, f"{kind}/{name}: {len(found)} of them"
    return found[0]


def identity(one):
    """How a test calls an object."""
    return f"{one['kind']}/{one['metadata']['name']}"


def template(one):
    """The pod template of an object."""
    spec = one["spec"]["jobTemplate"]["spec"] if one["kind"] == "CronJob" else one["spec"]
    return spec["template"]


def with_pods(objects):
    """The objects that make pods."""
    return [one for one in objects if one["kind"] in WITH_PODS]


def containers(spec):
    """Every container of a pod."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def kubectl():
    """A kubectl that can render the overlays; without one the test is skipped."""
    command = checker("kubectl")
    if _version(command) < MINIMUM_KUBECTL:
        lacking(f"{command} is too old to render the overlays: make checks-tools")
    return command


@functools.cache
def _version(command):
    told = subprocess.run([command, "version", "--client"], capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"v(\d+)\.(\d+)", told.stdout)
    return tuple(map(int, found.groups())) if found else (0, 0)


@functools.cache
def _rendered(overlay):
    return subprocess.run(
        [kubectl(), "kustomize", K8S / "overlays" / overlay], capture_output=True, text=True, timeout=120, check=True
    ).stdout


def rendered(overlay):
    """Every object that an overlay makes."""
    return [one for one in yaml.safe_load_all(_rendered(overlay)) if one]
