"""What Kubernetes' Pod Security Standard "restricted" has against a pod: its rules as of Kubernetes 1.37.

Source: the checks of k8s.io/pod-security-admission (folder ``policy``). `make release-check` compares what is found
here with what that library itself says, of the chart's pods and of all of ``SPOILED``. What Kubernetes forgives a pod
with a user namespace of its own (``hostUsers: false``) is not forgiven here.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from tests.helm.chart import Object

_VOLUMES: Final = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"),
    *("persistentVolumeClaim", "projected", "secret"),
}
_PROFILES: Final = {"RuntimeDefault", "Localhost"}
_SELINUX_TYPES: Final = {
    *("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"),
}
_SYSCTLS: Final = {
    "kernel.shm_rmid_forced",
    *(
        f"net.ipv4.{name}"
        for name in (
            *("ip_local_port_range", "ip_local_reserved_ports", "ip_unprivileged_port_start"),
            *("ping_group_range", "tcp_fin_timeout", "tcp_keepalive_intvl", "tcp_keepalive_probes"),
            *("tcp_keepalive_time", "tcp_notsent_lowat", "tcp_rmem", "tcp_slow_start_after_idle"),
            *("tcp_syncookies", "tcp_wmem"),
        )
    ),
}
_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")

#: Values of the chart that spoil a pod.
SPOILED: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "privileged": {"securityContext": {"privileged": True}},
        "may get privileges": {"securityContext": {"allowPrivilegeEscalation": True}},
        "adds a capability": {"securityContext": {"capabilities": {"add": ["NET_RAW"]}}},
        "keeps capabilities": {"securityContext": {"capabilities": {"drop": ["NET_RAW"]}}},
        "is root": {"podSecurityContext": {"runAsUser": 0}},
        "may be root": {"podSecurityContext": {"runAsNonRoot": False}},
        "its container may be root": {"securityContext": {"runAsNonRoot": False}},
        "has no filter of system calls": {"podSecurityContext": {"seccompProfile": {"type": "Unconfined"}}},
        "has no AppArmor": {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
        "has a SELinux role": {"podSecurityContext": {"seLinuxOptions": {"role": "sysadm_r"}}},
        "sees all of /proc": {"securityContext": {"procMount": "Unmasked"}},
        "sets the kernel": {
            "podSecurityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "65536"}]},
        },
        "mounts the host": {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]},
    }
)


def violations(pod: Object) -> list[str]:
    """The rules that the pod breaks, each with where; none if a namespace that enforces "restricted" takes it."""
    return [*_of_pod(pod), *_of_containers(pod)]


def _of_pod(pod: Object) -> Iterator[str]:
    spec = pod["spec"]
    yield from (field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field))
    for volume in spec.get("volumes", ()):
        # Without a source it is an emptyDir.
        yield from (f"volume {kind}" for kind in volume.keys() - {"name"} - _VOLUMES)
    for name, profile in pod["metadata"].get("annotations", {}).items():
        if name.startswith(_APPARMOR) and not profile.startswith(("runtime/default", "localhost/")):
            yield f"annotation {name}"
    context = spec.get("securityContext", {})
    yield from (f"sysctl {one['name']}" for one in context.get("sysctls", ()) if one["name"] not in _SYSCTLS)
    yield from (f"pod: {problem}" for problem in _of_context(context))


def _of_containers(pod: Object) -> Iterator[str]:
    spec = pod["spec"]
    of_pod = spec.get("securityContext", {})
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for item in spec.get(kind, ()):
            own = item.get("securityContext", {})
            found = [*_of_context(own), *_of_process(item)]
            found += [name for name, good in _REQUIRED.items() if not good({**of_pod, **own})]
            yield from (f"{item['name']}: {problem}" for problem in found)


#: What must be said, by the container or for it by the pod.
_REQUIRED: Final[Mapping[str, Callable[[Object], bool]]] = MappingProxyType(
    {
        "runAsNonRoot": lambda context: context.get("runAsNonRoot") is True,
        "seccompProfile": lambda context: context.get("seccompProfile", {}).get("type") in _PROFILES,
    }
)


def _of_context(context: Object) -> Iterator[str]:
    """What neither a pod nor a container may say, even where the other one says better."""
    allowed = {
        "runAsNonRoot": context.get("runAsNonRoot") is not False,
        "runAsUser": context.get("runAsUser") != 0,
        "seccompProfile": context.get("seccompProfile", {"type": "Localhost"})["type"] in _PROFILES,
        "appArmorProfile": context.get("appArmorProfile", {"type": "Localhost"})["type"] in _PROFILES,
        "seLinuxOptions": _harmless(context.get("seLinuxOptions", {})),
        "hostProcess": not context.get("windowsOptions", {}).get("hostProcess"),
    }
    yield from (name for name, good in allowed.items() if not good)


def _harmless(selinux: Object) -> bool:
    return selinux.get("type", "") in _SELINUX_TYPES and not selinux.get("user") and not selinux.get("role")


def _of_process(item: Object) -> Iterator[str]:
    own = item.get("securityContext", {})
    capabilities = own.get("capabilities", {})
    hooks = [item[name] for name in _PROBES if name in item] + [*item.get("lifecycle", {}).values()]
    allowed = {
        "privileged": not own.get("privileged"),
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
        "capabilities": "ALL" in capabilities.get("drop", ())
        and set(capabilities.get("add", ())) <= {"NET_BIND_SERVICE"},
        "procMount": own.get("procMount", "Default") == "Default",
        "hostPort": not any(port.get("hostPort") for port in item.get("ports", ())),
        "host of a probe": not any(
            hook.get(kind, {}).get("host") for hook in hooks for kind in ("httpGet", "tcpSocket")
        ),
    }
    yield from (name for name, good in allowed.items() if not good)
