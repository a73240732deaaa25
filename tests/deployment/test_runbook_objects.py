"""The runbook's cluster procedures name nothing that the manifests have not."""

import json
import re
from pathlib import PurePosixPath

import pytest
from manifest_commands import SHORT, Command, commands, lines
from manifest_files import K8S, NAMESPACE, ROOT, base, containers, documents, named, template, with_pods
from typer.main import get_command

COMMANDS = commands()
OBJECTS = [*base(), *documents(K8S / "overlays" / "minikube" / "postgres.yaml")]
OF_CLUSTER = {"Pod", "Event"}
"""Kinds that nobody writes down: pods are named by their labels."""

VERBS = {
    "apply",
    "autoscale",
    "create job",
    "delete",
    "describe",
    "edit",
    "exec",
    "get",
    "logs",
    "patch",
    "port-forward",
    "rollout restart",
    "rollout status",
    "rollout undo",
    "run",
    "scale",
    "top",
    "wait",
}
"""What is understood here; another verb is to be checked in some way before it is written down."""

IN_IMAGES = {"cat", "churn", "cp", "df", "find", "ls", "python", "rm", "sh"}


def those(*verbs):
    """The commands with some verbs, as parameters."""
    chosen = [one for one in COMMANDS if one.verb in verbs]
    assert chosen, verbs
    return pytest.mark.parametrize("command", chosen, ids=[one.text[:90] for one in chosen])


def every(condition):
    """The commands of which something is true, as parameters."""
    chosen = [one for one in COMMANDS if condition(one)]
    assert chosen
    return pytest.mark.parametrize("command", chosen, ids=[one.text[:90] for one in chosen])


@every(lambda _: True)
def test_every_command_is_understood(command):
    assert command.verb in VERBS


@every(lambda one: one.verb != "apply")
def test_every_command_says_its_namespace(command):
    assert command.options["-n"] == NAMESPACE


@those("apply")
def test_what_is_applied_is_a_file(command):
    path = ROOT / command.options["-f"]
    assert path.is_file()
    assert documents(path)


@every(lambda one: one.objects)
def test_every_object_is_in_the_manifests(command):
    for kind, name in command.objects:
        if name and kind not in OF_CLUSTER:
            named(OBJECTS, kind, name)
        elif kind not in OF_CLUSTER:
            assert kind in {one["kind"] for one in OBJECTS}


@every(lambda one: not one.objects and one.verb not in {"apply", "run"})
def test_what_names_no_object_says_what_it_means(command):
    assert "-l" in command.options or "--from" in command.options


@every(lambda one: "-l" in one.options)
def test_every_label_is_on_pods(command):
    name, _, value = command.options["-l"].partition("=")
    labels = [template(one)["metadata"]["labels"] for one in with_pods(OBJECTS)]
    assert any(one.get(name) == value for one in labels)


@those("create job")
def test_jobs_are_made_of_cronjobs(command):
    kind, name = command.options["--from"].split("/")
    named(OBJECTS, SHORT[kind], name)


@those("port-forward")
def test_forwarded_ports_are_those_of_the_service(command):
    [(kind, name)] = command.objects
    local, port = map(int, command.names[-1].split(":"))
    assert port in {one["port"] for one in named(OBJECTS, kind, name)["spec"]["ports"]}
    asked = [word for words in lines() if words[0] == "curl" for word in words if word.startswith("http")]
    assert asked
    assert all(f"localhost:{local}/" in url for url in asked)


def container_of(command):
    """The container in which an `exec` runs."""
    [(kind, name)] = command.objects
    return containers(template(named(OBJECTS, kind, name))["spec"])[0]


@those("exec")
def test_every_path_in_a_pod_is_mounted(command):
    mounts = [PurePosixPath(mount["mountPath"]) for mount in container_of(command)["volumeMounts"]]
    paths = [PurePosixPath(path) for word in command.inside for path in re.findall(r"/app/[\w./-]*", word)]
    for path in paths:
        assert any(path.is_relative_to(mount) for mount in mounts), path


@those("exec")
def test_every_command_in_a_pod_is_in_its_image(command):
    program, *rest = command.inside
    assert program in IN_IMAGES
    if program == "churn":
        assert container_of(command)["image"].startswith("techitfactory/churn-ml:")
        assert known(rest)


def known(words):
    """Whether `churn` has a command, with its options."""
    from churn_assets.cli import app

    found = get_command(app)
    words = list(words)
    while words and hasattr(found, "commands"):
        found = found.commands[words.pop(0)]
    options = {name for parameter in found.params for name in parameter.opts}
    return {word for word in words if word.startswith("--")} <= options


@those("run")
def test_the_pod_of_a_rollback_finds_the_volume(command):
    spec = json.loads(command.options["--overrides"])["spec"]
    [volume], [container] = spec["volumes"], spec["containers"]
    named(OBJECTS, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
    [mount] = container["volumeMounts"]
    assert mount["name"] == volume["name"]
    mounts = containers(template(named(OBJECTS, "Deployment", "churn-api"))["spec"])[0]["volumeMounts"]
    below = {f"{mount['mountPath']}/{one['subPath']}" for one in mounts if "subPath" in one}
    paths = re.findall(r"/pvc/[\w./-]*", container["command"][-1])
    assert len(paths) == 2
    assert all(any(path.startswith(f"{folder}/") for folder in below) for path in paths)


@those("run")
def test_the_pod_of_a_rollback_is_admitted(command):
    """It runs as root: so `baseline` is enforced, and nothing is asked for that this would refuse."""
    labels = named(OBJECTS, "Namespace", NAMESPACE)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "baseline"
    spec = json.loads(command.options["--overrides"])["spec"]
    assert set(spec) <= {"containers", "volumes"}
    assert all("securityContext" not in one for one in spec["containers"])


@those("patch")
def test_what_is_patched_is_there(command):
    [(kind, name)] = command.objects
    there, patch = named(OBJECTS, kind, name), json.loads(command.options["-p"])
    while isinstance(patch, dict):
        [(key, patch)] = patch.items()
        there = there[key]
    assert type(there) is type(patch)


def test_a_name_that_is_nowhere_is_found():
    command = Command.parse(["kubectl", "-n", NAMESPACE, "exec", "deploy/churn-gone", "--", "churn", "status"])
    assert command.objects == [("Deployment", "churn-gone")]
    with pytest.raises(AssertionError):
        test_every_object_is_in_the_manifests(command)
