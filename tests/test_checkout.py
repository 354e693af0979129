"""What is built and published is what git knows or would take; of a source distribution, where no git is, the same."""

import json
import subprocess
import sys
from pathlib import Path

from tests.checkout import export, files


def test_without_a_repository(tmp_path: Path) -> None:
    """In a copy that is no repository, within another one, the same files; what .gitignore names is left out."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    copy = tmp_path / "a copy"
    export(copy)
    for ignored in (".venv/bin/python", "build/x", "dist/x", "tests/__pycache__/x.pyc", "PKG-INFO"):
        (copy / ignored).parent.mkdir(parents=True, exist_ok=True)
        (copy / ignored).touch()
    (copy / "tests" / "new.py").touch()
    told = subprocess.run(
        [sys.executable, "-c", "import json, tests.checkout as c; print(json.dumps(c.files()))"],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout) == sorted([*files(), "tests/new.py"])
