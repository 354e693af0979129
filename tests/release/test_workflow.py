"""release.yaml publishes what test.yaml has checked, once, from a tag that names the version of the files."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from celery_metrics_exporter import __version__
from tests.checkout import ROOT
from tests.image.dockerfile import base_image, stages
from tests.image.workflows import JOBS, RELEASE, TEST, Job, job_of, read
from tests.release.artifacts import Artifacts

#: The jobs that publish files which test.yaml has checked.
PUBLISHING = ("chart", "package", "page")


def test_the_image_is_released_for_both_platforms_with_its_origin() -> None:
    """BuildKit attaches provenance and a bill of materials, and gets only arguments that the Dockerfile takes."""
    (step,) = [one for one in job_of(RELEASE, "image").steps if one.get("id") == "build"]
    given = step["with"]
    assert given["platforms"] == "linux/amd64,linux/arm64"
    assert (given["provenance"], given["sbom"]) == ("mode=max", True)
    arguments = dict(line.split("=", 1) for line in given["build-args"].splitlines())
    assert arguments.keys() == {one.text.partition("=")[0] for one in stages()[-1] if one.name == "ARG"}
    assert arguments["PYTHON_IMAGE"] == "${{ steps.base.outputs.image }}"


def test_the_base_is_asked_for_by_digest() -> None:
    """The name that the Dockerfile has, as the workflow reads it, gets the digest of what it means at that time."""
    (command,) = [one["run"] for one in job_of(RELEASE, "image").steps if one.get("id") == "base"]
    (script,) = re.findall(r"sed -n '[^']+' Dockerfile", command)
    told = subprocess.run(["sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told == f"{base_image()}\n"
    assert 'echo "image=$name@$digest"' in command


def _awaited(job: Job) -> set[str]:
    """The jobs that have succeeded when this one begins."""
    needs = job.content.get("needs", [])
    direct = {needs} if isinstance(needs, str) else set(needs)
    return direct.union(*(_awaited(job_of(job.workflow, name)) for name in direct))


def test_nothing_is_published_before_every_check_has_passed() -> None:
    """Each job that may write waits for the tag's check and for all jobs of test.yaml; none overlooks a failure."""
    assert job_of(RELEASE, "test").content["uses"] == "./.github/workflows/test.yaml"
    writing = [job for job in JOBS if "write" in job.content.get("permissions", {}).values()]
    assert {job.name for job in writing} == {"image", "chart", "package", "page"}
    for job in writing:
        assert {"version", "test"} <= _awaited(job)
    assert not [job.name for job in JOBS if "if" in job.content or "continue-on-error" in job.content]
    triggers = dict[Any, Any](read(RELEASE))[True]  # YAML 1.1 reads "on" as true
    assert triggers == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+*"]}}
    # The commit is that of the tag everywhere; nothing is built again, so what is published was checked.
    for job in writing:
        commands = " ".join(step.get("run", "") for step in job.steps)
        assert not re.findall(r"hatchling|helm package|make |pip ", commands)


def test_what_is_published_is_what_was_checked() -> None:
    """The checks hand on all of dist/, and the jobs that publish take their files from there."""
    (kept,) = [
        step["with"] for step in job_of(TEST, "release").steps if "upload-artifact" in step.get("uses", "")
    ]
    assert (kept["name"], kept["path"]) == ("release", "dist/")
    named = {path.name.replace(__version__, "$VERSION") for path in Artifacts(ROOT).all()}
    taken = set()
    for name in PUBLISHING:
        steps = job_of(RELEASE, name).steps
        assert "download-artifact" in steps[0]["uses"]
        assert steps[0]["with"] == {"name": kept["name"]}
        assert "sha256sum --check --strict" in steps[1]["run"]
        taken |= set(re.findall(r"[\w-]+-\$VERSION[\w.-]*", " ".join(step.get("run", "") for step in steps)))
    assert taken == {name for name in named if not name.endswith(".cdx.json")}


@pytest.mark.parametrize("name", PUBLISHING)
@pytest.mark.parametrize("spoiled", [None, "other", "missing", "nothing was checked"])
def test_what_differs_from_what_was_checked_is_not_published(
    name: str, spoiled: str | None, tmp_path: Path
) -> None:
    """The hashes that the checks hand on, as the steps themselves make and compare them."""
    artifacts = Artifacts(tmp_path)
    for path in artifacts.all():
        path.write_text(path.name, encoding="utf-8")
    output = tmp_path.parent / f"output-{tmp_path.name}"
    made = _shell(job_of(TEST, "release").runs("sha256sum"), tmp_path, GITHUB_OUTPUT=str(output))
    assert made.returncode == 0, made.stderr
    begin, *lines, end = output.read_text(encoding="utf-8").splitlines()
    assert (begin, end) == ("checked<<END", "END")
    assert job_of(TEST, "release").outputs["checked"] == "${{ steps.hashes.outputs.checked }}"
    assert job_of(RELEASE, "test").outputs["checked"] == "${{ jobs.release.outputs.checked }}"
    job = job_of(RELEASE, name)
    assert job.content["env"]["CHECKED"] == "${{ needs.test.outputs.checked }}"
    if spoiled == "other":
        artifacts.sbom.write_text("another", encoding="utf-8")
    elif spoiled == "missing":
        artifacts.chart.unlink()
    checked = "" if spoiled == "nothing was checked" else "\n".join(lines)
    done = _shell(job.runs("sha256sum"), tmp_path, CHECKED=checked)
    assert (done.returncode != 0) == bool(spoiled)


def test_no_file_more_is_published(tmp_path: Path) -> None:
    """What lies beside the files that were checked gets neither on the index nor on the release's page."""
    artifacts = Artifacts(tmp_path)
    for name, expected in (("package", artifacts.all()[:2]), ("page", artifacts.all())):
        for path in (*artifacts.all(), tmp_path / "more"):
            path.write_text("", encoding="utf-8")
        checked = "\n".join(f"{'0' * 64}  {path.name}" for path in artifacts.all())
        done = _shell(
            job_of(RELEASE, name).runs("mkdir dist"), tmp_path, CHECKED=checked, VERSION=__version__
        )
        assert done.returncode == 0, done.stderr
        assert {path.name for path in (tmp_path / "dist").iterdir()} == {path.name for path in expected}
        shutil.rmtree(tmp_path / "dist")


def _shell(command: str, folder: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a step as GitHub does."""
    return subprocess.run(
        ["bash", "-e", "-c", command],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_may_write() -> None:
    """Only the jobs that publish may do more than read, each what it needs."""
    assert {job.name: job.content["permissions"] for job in JOBS if "permissions" in job.content} == {
        "image": {"contents": "read", "packages": "write", "id-token": "write", "attestations": "write"},
        "chart": {"contents": "read", "packages": "write"},
        "package": {"id-token": "write"},
        "page": {"contents": "write", "id-token": "write", "attestations": "write"},
    }
    for job in JOBS:
        kept = [
            step
            for step in job.steps
            if step.get("uses", "").startswith("actions/checkout@")
            and step["with"]["persist-credentials"] is not False
        ]
        assert not kept


VERSIONED = (
    "exporter/celery_metrics_exporter/__init__.py",
    "helm/celery-exporter/Chart.yaml",
)


@pytest.mark.parametrize(
    ("tag", "spoiled"),
    [
        (f"v{__version__}", None),
        (f"v{__version__}", f'__version__ = "{__version__}"'),
        (f"v{__version__}", f"version: {__version__}"),
        (f"v{__version__}", f'appVersion: "{__version__}"'),
        (f"v{__version__}-rc1", None),
        ("v99.0.0", None),
        ("v.*", None),
        ("v", None),
    ],
)
def test_a_release_has_one_version(tag: str, spoiled: str | None, tmp_path: Path) -> None:
    """The tag must name what the package, the chart and the chart's image say; else nothing is released."""
    script = "scripts/release-version"
    for name in (script, *VERSIONED):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    if spoiled:
        (path,) = [tmp_path / one for one in VERSIONED if f"\n{spoiled}\n" in (ROOT / one).read_text()]
        path.write_text(
            path.read_text().replace(f"\n{spoiled}\n", f"\n{spoiled.replace(__version__, '99.0.0')}\n")
        )
    done = subprocess.run([tmp_path / script, tag], capture_output=True, text=True, check=False)
    good = tag == f"v{__version__}" and not spoiled
    assert done.returncode == (0 if good else 1)
    assert done.stdout == (f"version={__version__}\n" if good else "")
    assert (done.stderr == "") == good
    assert script.partition("/")[2] + ' "$GITHUB_REF_NAME"' in job_of(RELEASE, "version").runs(script)
