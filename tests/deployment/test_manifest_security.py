"""The check of the level `restricted` finds what it is there for."""

import copy

import pytest
from manifest_security import refused

POD = {
    "metadata": {"name": "one"},
    "spec": {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "c",
                "livenessProbe": {"httpGet": {"path": "/", "port": 1}},
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
        "volumes": [{"name": "v", "emptyDir": {}}],
    },
}
CONTAINER = ("spec", "containers", 0)
OWN = (*CONTAINER, "securityContext")
SHARED = ("spec", "securityContext")
VIOLATIONS = {
    "host network": (("spec", "hostNetwork"), True, "hostNetwork is set"),
    "host processes": (("spec", "hostPID"), True, "hostPID is set"),
    "host memory": (("spec", "hostIPC"), True, "hostIPC is set"),
    "host folder": (("spec", "volumes", 0), {"name": "v", "hostPath": {"path": "/"}}, "volume v: hostPath"),
    "host port": ((*CONTAINER, "ports"), [{"containerPort": 1, "hostPort": 1}], "c: hostPort"),
    "privileged": ((*OWN, "privileged"), True, "c: privileged"),
    "escalation": ((*OWN, "allowPrivilegeEscalation"), True, "c: allowPrivilegeEscalation is not false"),
    "escalation unsaid": (OWN, {"capabilities": {"drop": ["ALL"]}}, "c: allowPrivilegeEscalation is not false"),
    "may be root": (SHARED, {"seccompProfile": {"type": "RuntimeDefault"}}, "c: runAsNonRoot is not true"),
    "may be root itself": ((*OWN, "runAsNonRoot"), False, "c: runAsNonRoot is not true"),
    "is root": ((*SHARED, "runAsUser"), 0, "c: runs as user 0"),
    "seccomp unsaid": (SHARED, {"runAsNonRoot": True}, "c: seccomp None"),
    "seccomp off": ((*OWN, "seccompProfile"), {"type": "Unconfined"}, "c: seccomp Unconfined"),
    "keeps capabilities": ((*OWN, "capabilities"), {"drop": ["NET_RAW"]}, "c: does not drop ALL"),
    "adds capabilities": ((*OWN, "capabilities"), {"drop": ["ALL"], "add": ["SYS_ADMIN"]}, "c: adds SYS_ADMIN"),
    "proc": ((*OWN, "procMount"), "Unmasked", "c: procMount Unmasked"),
    "sysctl": ((*SHARED, "sysctls"), [{"name": "kernel.msgmax", "value": "1"}], "sysctl kernel.msgmax"),
    "SELinux": ((*SHARED, "seLinuxOptions"), {"type": "spc_t"}, "the pod: seLinuxOptions {'type': 'spc_t'}"),
    "AppArmor": ((*OWN, "appArmorProfile"), {"type": "Unconfined"}, "c: AppArmor Unconfined"),
    "Windows": ((*SHARED, "windowsOptions"), {"hostProcess": True}, "the pod: hostProcess"),
    "AppArmor by annotation": (
        ("metadata", "annotations"),
        {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"},
        "AppArmor unconfined",
    ),
    "a probe elsewhere": (
        (*CONTAINER, "livenessProbe"),
        {"tcpSocket": {"host": "10.0.0.1", "port": 1}},
        "c: livenessProbe names a host",
    ),
}


def test_a_restricted_pod_is_not_refused():
    assert refused(POD) == []


@pytest.mark.parametrize(("where", "value", "why"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_each_violation_is_named(where, value, why):
    pod = copy.deepcopy(POD)
    holder = pod
    for step in where[:-1]:
        holder = holder[step]
    holder[where[-1]] = value
    assert refused(pod) == [why]


def test_what_a_container_says_itself_counts():
    pod = copy.deepcopy(POD)
    own = pod["spec"]["containers"][0]["securityContext"]
    own |= pod["spec"].pop("securityContext")
    own["capabilities"]["add"] = ["NET_BIND_SERVICE"]
    assert refused(pod) == []


def test_init_containers_count_as_well():
    pod = copy.deepcopy(POD)
    pod["spec"]["initContainers"] = [{"name": "first"}]
    assert {one.split(":")[0] for one in refused(pod)} == {"first"}
