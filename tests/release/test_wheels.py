"""wheels.sha256 has each wheel that a build of the image may choose, and scripts/verify_wheels.py takes no other."""

import re
from pathlib import Path

import pytest
from packaging import tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from scripts.verify_wheels import main
from tests.image.distributions import pinned
from tests.release.pythons import VERSIONS
from tests.release.wheels import LIST, OF_IMAGE, Platform, listed, of_image

WRITE = "after a change of constraints.txt run: .venv/bin/python -m tests.release.wheels"


@pytest.mark.parametrize("python", VERSIONS)
@pytest.mark.parametrize("platform", OF_IMAGE, ids=lambda platform: platform.name)
def test_each_distribution_has_its_wheel(platform: Platform, python: str) -> None:
    """In the version of constraints.txt, for each machine and Python that the image can have."""
    major, minor = map(int, python.split("."))
    good = {
        *tags.cpython_tags((major, minor), platforms=platform.tags),
        *tags.compatible_tags((major, minor), f"cp{major}{minor}", platforms=platform.tags),
    }
    found = {}
    for wheel in listed():
        name, version, _, for_these = parse_wheel_filename(wheel.name)
        if for_these & good:
            found[name] = str(version)
    assert found == {name: pinned()[canonicalize_name(name)] for name in of_image()}, WRITE


def test_it_is_a_list_of_hashes_and_no_more() -> None:
    """One line for each file, sorted, without an address."""
    lines = LIST.read_text(encoding="ascii").splitlines()
    assert not [line for line in lines if not re.fullmatch(r"[0-9a-f]{64}  [\w.+-]+\.whl", line)]
    names = [wheel.name for wheel in listed()]
    assert names == sorted(set(names), key=str.lower)


@pytest.fixture
def wheels(tmp_path: Path) -> tuple[Path, Path]:
    """A list, and a folder with the wheel that it names."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "a-1-py3-none-any.whl").write_bytes(b"")
    known = tmp_path / "wheels.sha256"
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    known.write_text(f"{empty}  a-1-py3-none-any.whl\n")
    return known, folder


def test_what_is_listed_passes(wheels: tuple[Path, Path]) -> None:
    """Name and hash are those of the list."""
    main(*wheels)


@pytest.mark.parametrize(
    ("name", "content"), [("a-1-py3-none-any.whl", b"x"), ("b-1-py3-none-any.whl", b""), ("a-1.tar.gz", b"")]
)
def test_what_is_not_listed_ends_the_build(wheels: tuple[Path, Path], name: str, content: bytes) -> None:
    """Another content, another wheel, something that is no wheel: it is named, with what to do."""
    (wheels[1] / name).write_bytes(content)
    with pytest.raises(SystemExit, match=rf"{name}.*VERIFY=no"):
        main(*wheels)


def test_an_empty_folder_ends_the_build(wheels: tuple[Path, Path]) -> None:
    """Nothing that was verified is nothing that may be installed."""
    for path in wheels[1].iterdir():
        path.unlink()
    with pytest.raises(SystemExit, match="no wheel"):
        main(*wheels)
