"""The chart's pods under Pod Security "restricted", judged by Kubernetes' own library. Started by `make release-check`.

It needs Go and its module proxy; the rules of tests/helm/pod_security.py, which `make test` takes, need neither.
"""

import copy
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.helm.chart import ALL_CASES, Object, container, pod_templates, template
from tests.helm.pod_security import SPOILED, violations
from tests.helm.test_matrix import KUBERNETES

pytestmark = pytest.mark.skipif(not shutil.which("go"), reason="Go is not installed")

_SOURCE: Final = Path(__file__).parent.parent / "helm" / "restricted"
#: What no value of the chart can spoil, as fields of its container.
_SPOILED_CONTAINER: Final[Mapping[str, Object]] = {
    "has a port of the host": {"ports": [{"containerPort": 9808, "hostPort": 9808}]},
    "probes another host": {"livenessProbe": {"tcpSocket": {"host": "10.0.0.1", "port": 1}}},
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/helm/restricted, built."""
    built = tmp_path_factory.mktemp("go") / "restricted"
    done = subprocess.run(
        ["go", "build", "-o", built, "."],
        cwd=_SOURCE,
        env={**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return built


def judged(program: Path, pods: list[Object]) -> dict[str, list[list[str]]]:
    """By version of Kubernetes what forbids each pod."""
    done = subprocess.run(
        [program, *KUBERNETES], input=json.dumps(pods), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[list[str]]] = json.loads(done.stdout)
    assert found.keys() == set(KUBERNETES)
    return found


@pytest.mark.parametrize("case", ALL_CASES)
def test_every_kubernetes_takes_the_pods(program: Path, case: str) -> None:
    """A namespace that enforces the profile of any of these versions, or of the newest, takes all pods."""
    pods = pod_templates(template(case))
    for version, forbidden in judged(program, pods).items():
        assert forbidden == [[] for _ in pods], version


@pytest.mark.parametrize("spoiled", [*SPOILED, *_SPOILED_CONTAINER])
def test_both_find_what_is_spoiled(program: Path, spoiled: str) -> None:
    """What the newest Kubernetes forbids, our own rules forbid too, and the other way round."""
    pods = [copy.deepcopy(pod) for pod in pod_templates(template(SPOILED.get(spoiled, {})))]
    for pod in pods:
        container(pod).update(_SPOILED_CONTAINER.get(spoiled, {}))
    newest = judged(program, pods)[KUBERNETES[-1]]
    assert [bool(reasons) for reasons in newest] == [bool(violations(pod)) for pod in pods]
    assert any(newest)
