"""The workflows of .github/, taken apart."""

from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from tests.checkout import ROOT

GITHUB: Final = ROOT / ".github"
WORKFLOWS: Final = sorted((GITHUB / "workflows").iterdir())
RELEASE: Final = GITHUB / "workflows" / "release.yaml"
TEST: Final = GITHUB / "workflows" / "test.yaml"


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

    @property
    def outputs(self) -> dict[str, str]:
        """What other jobs can ask for; of a job that is another workflow, what that one hands on."""
        if "uses" in self.content:
            called = dict[Any, Any](read(ROOT / self.content["uses"]))[True]["workflow_call"]["outputs"]
            return {name: output["value"] for name, output in called.items()}
        found: dict[str, str] = self.content.get("outputs", {})
        return found

    def runs(self, words: str) -> str:
        """The command of its one step that has these words."""
        (found,) = [step["run"] for step in self.steps if words in step.get("run", "")]
        return str(found)


def read(path: Path) -> dict[str, Any]:
    """A workflow's or another YAML file's content."""
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


JOBS: Final = [Job(path, name, job) for path in WORKFLOWS for name, job in read(path)["jobs"].items()]


def job_of(workflow: Path, name: str) -> Job:
    """The job of this name."""
    (found,) = [job for job in JOBS if (job.workflow, job.name) == (workflow, name)]
    return found
