"""The Pod Security Standard `restricted`, as a function: what in a pod it would refuse.

After https://kubernetes.io/docs/concepts/security/pod-security-standards/, for Linux pods.
"""

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}
SELINUX = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
SECCOMP = {"RuntimeDefault", "Localhost"}
HANDLERS = ("httpGet", "tcpSocket")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def refused(pod):
    """Why the level `restricted` would refuse a pod; empty if it would not.

    Args:
        pod: A pod or pod template as the API has it: `metadata` and `spec`.
    """
    spec = pod["spec"]
    return [*_pod(pod), *(found for one in _containers(spec) for found in _container(one, spec))]


def _containers(spec):
    return [*spec.get("initContainers", []), *spec["containers"], *spec.get("ephemeralContainers", [])]


def _pod(pod):
    spec = pod["spec"]
    shared = _context(spec)
    yield from (f"{name} is set" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name))
    for volume in spec.get("volumes", []):
        yield from (f"volume {volume['name']}: {kind}" for kind in volume if kind != "name" and kind not in VOLUMES)
    yield from (f"sysctl {one['name']}" for one in shared.get("sysctls", []) if one["name"] not in SYSCTLS)
    annotations = pod.get("metadata", {}).get("annotations") or {}
    for name, value in annotations.items():
        if name.startswith("container.apparmor.security.beta.kubernetes.io/"):
            yield from [] if value == "runtime/default" or value.startswith("localhost/") else [f"AppArmor {value}"]
    yield from _kernel("the pod", shared)


def _container(container, spec):
    name, own, shared = container["name"], _context(container), _context(spec)
    if own.get("privileged"):
        yield f"{name}: privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation is not false"
    if own.get("runAsNonRoot", shared.get("runAsNonRoot")) is not True:
        yield f"{name}: runAsNonRoot is not true"
    if own.get("runAsUser", shared.get("runAsUser")) == 0:
        yield f"{name}: runs as user 0"
    seccomp = own.get("seccompProfile") or shared.get("seccompProfile") or {}
    if seccomp.get("type") not in SECCOMP:
        yield f"{name}: seccomp {seccomp.get('type')}"
    yield from _capabilities(name, own.get("capabilities") or {})
    if own.get("procMount", "Default") != "Default":
        yield f"{name}: procMount {own['procMount']}"
    yield from (f"{name}: hostPort" for port in container.get("ports", []) if port.get("hostPort"))
    yield from _hosts(name, container)
    yield from _kernel(name, own)


def _capabilities(name, capabilities):
    if "ALL" not in capabilities.get("drop", []):
        yield f"{name}: does not drop ALL"
    yield from (f"{name}: adds {one}" for one in capabilities.get("add") or [] if one != "NET_BIND_SERVICE")


def _hosts(name, container):
    """Probes and hooks that are sent to a host of their own choice."""
    hooks = container.get("lifecycle") or {}
    for where, handler in [*((probe, container.get(probe)) for probe in PROBES), *hooks.items()]:
        yield from (
            f"{name}: {where} names a host" for kind in HANDLERS if ((handler or {}).get(kind) or {}).get("host")
        )


def _kernel(name, context):
    """What may be said of SELinux, AppArmor and Windows, by a pod or a container."""
    selinux = context.get("seLinuxOptions") or {}
    if selinux.get("type", "") not in SELINUX or selinux.get("user") or selinux.get("role"):
        yield f"{name}: seLinuxOptions {selinux}"
    if (context.get("appArmorProfile") or {}).get("type", "RuntimeDefault") not in SECCOMP:
        yield f"{name}: AppArmor {context['appArmorProfile']['type']}"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield f"{name}: hostProcess"


def _context(holder):
    return holder.get("securityContext") or {}
