""".github/: what GitHub would refuse or silently skip. The workflows run nowhere but there."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from celery_metrics_exporter import __version__
from tests.image.dockerfile import ROOT, base_image, stages
from tests.release.artifacts import Artifacts

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").iterdir())
RELEASE = GITHUB / "workflows" / "release.yaml"
TEST = GITHUB / "workflows" / "test.yaml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


class Job(NamedTuple):
    """One job of a workflow."""

    workflow: Path
    name: str
    content: dict[str, Any]

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Its steps; a job that is another workflow has none."""
        found: list[dict[str, Any]] = self.content.get("steps", [])
        return found


def _yaml(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


JOBS = [Job(path, name, job) for path in WORKFLOWS for name, job in _yaml(path)["jobs"].items()]
each_job = pytest.mark.parametrize("job", JOBS, ids=lambda job: f"{job.workflow.stem}-{job.name}")


def _job(workflow: Path, name: str) -> Job:
    (found,) = [job for job in JOBS if (job.workflow, job.name) == (workflow, name)]
    return found


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("vendor.dependabot", [GITHUB / "dependabot.yml"]),
    ],
)
def test_schema(schema: str, files: list[Path]) -> None:
    """The files obey the schema that editors use for them."""
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_read_only(path: Path) -> None:
    """What a token may do beyond reading is granted job by job; runs of one kind do not overtake each other."""
    content = _yaml(path)
    assert content["permissions"] == {"contents": "read"}
    assert content["concurrency"]["group"]


@each_job
def test_a_job_ends(job: Job) -> None:
    """Each job has a time limit and a runner of a named version."""
    if "uses" in job.content:
        assert (ROOT / job.content["uses"]).exists()
        return
    assert job.content["timeout-minutes"] <= 90
    assert re.fullmatch(r"ubuntu-\d\d\.04", job.content["runs-on"])


@each_job
def test_jobs_and_steps_that_are_named_exist(job: Job) -> None:
    """An expression that names a job it does not wait for, or a step that is not there, is silently empty."""
    needs = job.content.get("needs", [])
    awaited = {needs} if isinstance(needs, str) else set(needs)
    assert awaited <= _yaml(job.workflow)["jobs"].keys()
    text = yaml.safe_dump(job.content)
    for other, output in re.findall(r"needs\.(\w+)\.outputs\.(\w+)", text):
        assert other in awaited
        assert output in _job(job.workflow, other).content["outputs"]
    assert set(re.findall(r"steps\.(\w+)\.", text)) <= {step.get("id") for step in job.steps}
    named = set(re.findall(r"(?<![.\w])env\.(\w+)", text))
    assert named <= job.content.get("env", {}).keys()


@each_job
def test_what_is_run_exists(job: Job) -> None:
    """Targets of the Makefile, scripts and folders that a step names are there."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for command in (step["run"] for step in job.steps if "run" in step):
        assert set(re.findall(r"(?:^|\s)make ([\w-]+)", command)) <= targets
        for path in re.findall(r"(?<![\w/])(?:scripts|helm|tests)/[\w./-]+", command):
            assert (ROOT / path).exists(), command
    for path in re.findall(r"(?<![\w/])scripts/[\w-]+", yaml.safe_dump(job.content)):
        assert (ROOT / path).stat().st_mode & 0o100


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned(path: Path) -> None:
    """An action is named by commit, with its release beside it for people and Dependabot, alike everywhere."""
    used = re.findall(r"uses: (\S+)(.*)", path.read_text(encoding="utf-8"))
    remote = [(action, rest) for action, rest in used if not action.startswith("./")]
    assert remote
    for action, rest in remote:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action)
        assert re.fullmatch(r"  # v\d+\.\d+\.\d+", rest)
    everywhere = [action for one in WORKFLOWS for action in re.findall(r"uses: ([^./]\S+)", one.read_text())]
    assert len({action.partition("@")[0] for action in everywhere}) == len(set(everywhere))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_host_is_named(path: Path) -> None:
    """Where things are published is a variable of the repository: a fork does not push to us."""
    text = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
    assert not re.findall(r"\b[a-z0-9-]+\.(?:com|dev|io|net|org)\b", text)


def test_versions_of_python() -> None:
    """Each version that pyproject.toml promises is tested."""
    promised = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    matrix = _job(TEST, "test").content["strategy"]["matrix"]
    assert matrix["python"] == promised
    assert PROJECT["requires-python"] == f">={promised[0]}"
    (setup,) = [step for step in _job(TEST, "release").steps if "setup-python" in step.get("uses", "")]
    assert setup["with"]["python-version"].split() == promised


def test_the_image_is_released_for_both_platforms_with_its_origin() -> None:
    """BuildKit attaches provenance and a bill of materials, and gets only arguments that the Dockerfile takes."""
    (step,) = [one for one in _job(RELEASE, "image").steps if one.get("id") == "build"]
    given = step["with"]
    assert given["platforms"] == "linux/amd64,linux/arm64"
    assert (given["provenance"], given["sbom"]) == ("mode=max", True)
    arguments = dict(line.split("=", 1) for line in given["build-args"].splitlines())
    assert arguments.keys() == {one.text.partition("=")[0] for one in stages()[-1] if one.name == "ARG"}
    assert arguments["PYTHON_IMAGE"] == "${{ steps.base.outputs.image }}"


def test_the_base_is_asked_for_by_digest() -> None:
    """The name that the Dockerfile has, as the workflow reads it, gets the digest of what it means at that time."""
    (command,) = [one["run"] for one in _job(RELEASE, "image").steps if one.get("id") == "base"]
    (script,) = re.findall(r"sed -n '[^']+' Dockerfile", command)
    told = subprocess.run(["sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told == f"{base_image()}\n"
    assert 'echo "image=$name@$digest"' in command


def _awaited(job: Job) -> set[str]:
    """The jobs that have succeeded when this one begins."""
    needs = job.content.get("needs", [])
    direct = {needs} if isinstance(needs, str) else set(needs)
    return direct.union(*(_awaited(_job(job.workflow, name)) for name in direct))


def test_nothing_is_published_before_every_check_has_passed() -> None:
    """Each job that may write waits for the tag's check and for all jobs of test.yaml; none overlooks a failure."""
    assert _job(RELEASE, "test").content["uses"] == "./.github/workflows/test.yaml"
    writing = [job for job in JOBS if "write" in job.content.get("permissions", {}).values()]
    assert {job.name for job in writing} == {"image", "chart", "package", "page"}
    for job in writing:
        assert {"version", "test"} <= _awaited(job)
    assert not [job.name for job in JOBS if "if" in job.content or "continue-on-error" in job.content]
    triggers = dict[Any, Any](_yaml(RELEASE))[True]  # YAML 1.1 reads "on" as true
    assert triggers == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+*"]}}
    # The commit is that of the tag everywhere; nothing is built again, so what is published was checked.
    for job in writing:
        commands = " ".join(step.get("run", "") for step in job.steps)
        assert not re.findall(r"hatchling|helm package|make |pip ", commands)


def test_what_is_published_is_what_was_checked() -> None:
    """The checks hand on all of dist/, and the jobs that publish take their files from there."""
    (kept,) = [
        step["with"] for step in _job(TEST, "release").steps if "upload-artifact" in step.get("uses", "")
    ]
    assert (kept["name"], kept["path"]) == ("release", "dist/")
    named = {path.name.replace(__version__, "$VERSION") for path in Artifacts(ROOT).all()}
    taken = set()
    for name in ("chart", "package", "page"):
        steps = _job(RELEASE, name).steps
        (got,) = [step["with"]["name"] for step in steps if "download-artifact" in step.get("uses", "")]
        assert got == kept["name"]
        taken |= set(re.findall(r"[\w-]+-\$VERSION[\w.-]*", " ".join(step.get("run", "") for step in steps)))
    assert taken == {name for name in named if not name.endswith(".cdx.json")}


def test_what_may_write() -> None:
    """Only the jobs that publish may do more than read, each what it needs."""
    assert {job.name: job.content["permissions"] for job in JOBS if "permissions" in job.content} == {
        "image": {"contents": "read", "packages": "write", "id-token": "write", "attestations": "write"},
        "chart": {"contents": "read", "packages": "write"},
        "package": {"id-token": "write"},
        "page": {"contents": "write"},
    }
    for job in JOBS:
        kept = [
            step
            for step in job.steps
            if step.get("uses", "").startswith("actions/checkout@")
            and step["with"]["persist-credentials"] is not False
        ]
        assert not kept


@pytest.mark.parametrize(("tag", "code"), [(f"v{__version__}", 0), ("v99.0.0", 1), ("v", 1)])
def test_a_release_has_one_version(tag: str, code: int) -> None:
    """The tag must name what the package and the chart say; else nothing is released."""
    done = subprocess.run(
        [ROOT / "scripts" / "release-version", tag], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert done.stdout == ("" if code else f"version={__version__}\n")
    assert (done.stderr != "") == bool(code)
