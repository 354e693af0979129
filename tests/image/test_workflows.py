""".github/: what GitHub would refuse or silently skip. The workflows run nowhere but there."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.checkout import ROOT
from tests.image.workflows import GITHUB, JOBS, TEST, WORKFLOWS, Job, job_of, read

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
each_job = pytest.mark.parametrize("job", JOBS, ids=lambda job: f"{job.workflow.stem}-{job.name}")


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
    content = read(path)
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
    assert awaited <= read(job.workflow)["jobs"].keys()
    text = yaml.safe_dump(job.content)
    for other, output in re.findall(r"needs\.(\w+)\.outputs\.(\w+)", text):
        assert other in awaited
        assert output in job_of(job.workflow, other).outputs
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
    matrix = job_of(TEST, "test").content["strategy"]["matrix"]
    assert matrix["python"] == promised
    assert PROJECT["requires-python"] == f">={promised[0]}"
    (setup,) = [step for step in job_of(TEST, "release").steps if "setup-python" in step.get("uses", "")]
    assert setup["with"]["python-version"].split() == promised
