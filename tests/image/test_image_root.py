"""The parts of scripts/image_root.py that need no image: what it copies and how links fare."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.image_root import LEFT_OUT, Root, shared_libraries

#: Imports each module of ours where those that are named cannot be imported.
_IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    sys.modules[name] = None
import celery_metrics_exporter as package
names = [found.name for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """An empty root file system."""
    return Root(tmp_path / "image")


def test_a_command_comes_with_the_links_that_lead_to_it(tmp_path: Path, root: Root) -> None:
    """`python` stays a link to `python3`, that one to the program, wherever each lies."""
    real = tmp_path / "lib" / "python3.11"
    real.parent.mkdir()
    real.write_text("program")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").symlink_to("../lib/python3.11")
    (folder / "python").symlink_to("python3")
    for name in ("python", "python3"):
        root.add_command(folder / name)
    placed = root.place(folder / "python")
    assert placed.readlink() == Path("python3")
    assert placed.resolve() == root.place(real)
    assert placed.read_text() == "program"
    assert root.copied == {real}


def test_a_library_is_copied_under_the_name_that_is_looked_for(tmp_path: Path, root: Root) -> None:
    """The file that libx.so.1 links to is there as libx.so.1, in the folder that its folder links to."""
    folder = tmp_path / "usr" / "lib"
    folder.mkdir(parents=True)
    (folder / "libx.so.1.2").write_text("code")
    (folder / "libx.so.1").symlink_to("libx.so.1.2")
    (tmp_path / "lib").symlink_to("usr/lib")
    root.add_file(tmp_path / "lib" / "libx.so.1")
    (copied,) = [path for path in root.folder.rglob("*") if path.is_file()]
    assert copied == root.folder / folder.relative_to("/") / "libx.so.1"
    assert copied.read_text() == "code"
    assert root.copied == {folder / "libx.so.1.2"}


def test_the_dynamic_linker_names_libraries_and_itself() -> None:
    """Of this Python it names files that exist, the C library and the linker among them."""
    found = set(shared_libraries([Path(sys.executable).resolve()]))
    assert {name.partition(".so")[0] for name in (path.name for path in found)} >= {"libc"}
    assert any(path.name.startswith("ld-linux") for path in found)
    assert all(path.is_file() for path in found)


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module whose library is not there ends the build, with the library's name."""
    ldd = tmp_path / "ldd"
    ldd.write_text("#!/bin/sh\necho '\tlibgone.so.1 => not found'\n")
    ldd.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(SystemExit, match=r"libgone\.so\.1"):
        list(shared_libraries([Path("module.so")]))


def test_no_module_that_is_left_out_is_needed() -> None:
    """All of the exporter, and what it imports, does without the parts of Python that the image does not have."""
    modules = {name.removesuffix(".py").removesuffix("*.so") for name in LEFT_OUT}
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_ALL, *sorted(modules)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
