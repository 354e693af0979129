"""The built image: what is in it, and that it runs as Kubernetes would run it. Started by `make image-check`."""

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from celery_metrics_exporter import __version__
from scripts.image_root import USER, USER_ID
from tests.checkout import is_repository
from tests.image.container import Image
from tests.image.distributions import ON_OLDER_PYTHON, listed, pinned
from tests.image.dockerfile import ROOT, base_image

ENTRY = "celery-exporter"


def _files(image: Image) -> Iterator[Path]:
    for path in image.root.rglob("*"):
        if not path.is_symlink():
            yield path


def _inside(image: Image, path: Path) -> str:
    return f"/{path.relative_to(image.root)}"


def _python(image: Image, code: str) -> str:
    done = image.run("python", "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_settings(image: Image) -> None:
    """User, port, entry point and health check are those that the chart and the documentation name."""
    settings = image.settings
    assert settings["User"] == f"{USER_ID}:{USER_ID}"
    assert settings["Entrypoint"] == [ENTRY]
    assert list(settings["ExposedPorts"]) == ["9808/tcp"]
    assert settings["Healthcheck"]["Test"] == ["CMD", ENTRY, "healthcheck"]
    assert {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"} <= image.environment().keys()


def test_labels(image: Image) -> None:
    """The arguments of the build arrive in the labels."""
    prefix = "org.opencontainers.image."
    labels = {name.removeprefix(prefix): value for name, value in image.settings["Labels"].items()}
    assert labels["version"] == __version__
    known = r"[0-9a-f]{40}(-dirty)?" if is_repository() else "unknown"
    assert re.fullmatch(known, labels["revision"])
    assert re.match(r"\d{4}-\d\d-\d\dT", labels["created"])
    assert labels["base.name"] == base_image()
    assert labels["title"] == ENTRY
    assert labels["licenses"] == "Apache-2.0"


def test_distributions(image: Image) -> None:
    """What is installed is what docs/supply-chain.md lists, in the versions of constraints.txt, and the exporter."""
    code = (
        "import json, sys; from importlib.metadata import distributions;"
        "print(json.dumps([sys.version_info[:3], {d.name: d.version for d in distributions()}]))"
    )
    python, told = json.loads(_python(image, code))
    installed = {canonicalize_name(name): version for name, version in told.items()}
    assert installed.pop(canonicalize_name("celery-metrics-exporter")) == __version__
    absent = ON_OLDER_PYTHON if tuple(python) >= (3, 11, 3) else set()
    assert installed.keys() == listed().keys() - absent
    assert installed == {name: pinned()[name] for name in installed}


def test_the_licence_of_the_exporter(image: Image) -> None:
    """Whoever gets the image gets the licence, where Python's tools look for it."""
    (licence,) = image.root.glob(
        f"opt/*/lib/python*/site-packages/celery_metrics_exporter-{__version__}.dist-info/licenses/LICENSE"
    )
    assert licence.read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_programs(image: Image) -> None:
    """Python and the commands of what is installed are the only programs: no shell, pip, compiler, package manager."""
    found = {
        path.name
        for path in image.root.rglob("bin/*")
        if "site-packages" not in path.parts and (path.is_symlink() or path.is_file())
    }
    assert {name for name in found if not name.startswith("python")} == {"celery", ENTRY}
    assert not list(image.root.glob("usr/sbin/*"))


def test_nothing_to_install_with(image: Image) -> None:
    """No module of pip, setuptools or ensurepip is left, nor headers to compile against."""
    unwanted = {"pip", "setuptools", "ensurepip", "wheel", "pkg_resources", "include", "gcc"}
    assert not [path for path in image.root.rglob("*") if path.name in unwanted]
    assert not list(image.root.rglob("*.whl"))


def test_rights(image: Image) -> None:
    """All belongs to root; nobody else may write, except where something is mounted; no program lends rights."""
    for path in _files(image):
        mode = path.stat()
        where = _inside(image, path)
        assert (mode.st_uid, mode.st_gid) == (0, 0), where
        assert where == "/tmp" or not mode.st_mode & (stat.S_IWGRP | stat.S_IWOTH), where  # noqa: S108
        assert not mode.st_mode & (stat.S_ISUID | stat.S_ISGID), where
        assert mode.st_mode & stat.S_IROTH, where


def test_libraries_have_an_origin(image: Image) -> None:
    """Each Debian package in the image has its licence and the version that scanners ask for."""
    status = sorted((image.root / "var/lib/dpkg/status.d").iterdir())
    names = {path.name for path in status}
    assert {"libc6", "libssl3", "zlib1g", "tzdata"} <= names
    assert not [name for name in names if re.search("perl|krb5|sqlite|ncurses|systemd|bash|apt", name)]
    for path in status:
        assert re.search(r"^Version: \S+$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert (image.root / "usr/share/doc" / path.name / "copyright").stat().st_size


def test_every_extension_module_loads(image: Image) -> None:
    """No library is missing: each module of machine code can be imported."""
    code = (
        "import importlib, pathlib, sys\n"
        "for folder in map(pathlib.Path, filter(None, sys.path)):\n"
        "    for path in folder.rglob('*.so') if folder.is_dir() else ():\n"
        "        parts = path.relative_to(folder).parts\n"
        "        if parts[0] not in ('lib-dynload', 'site-packages') and '.libs' not in parts[0]:\n"
        "            print(importlib.import_module('.'.join((*parts[:-1], parts[-1].partition('.')[0]))).__name__)\n"
    )
    loaded = _python(image, code).split()
    assert {"_ssl", "_ctypes", "hiredis.hiredis", "msgspec._core"} <= set(loaded)


def test_precompiled(image: Image) -> None:
    """A start compiles nothing: each module has its bytecode, which names its source as it is in the image."""
    for path in image.root.rglob("*.py"):
        assert list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc")), path
    assert _python(
        image, "import celery_metrics_exporter.app as app; print(app.Exporter.run.__code__.co_filename)"
    ).startswith("/opt/celery-exporter/lib/")


def test_the_process_has_no_rights_and_nothing_to_write_to(image: Image) -> None:
    """It is the image's user by number and name, and the whole file system refuses to be written."""
    code = (
        "import errno, getpass, os, sys\n"
        "print(os.getpid(), os.getuid(), os.getgid(), os.getgroups(), getpass.getuser())\n"
        "for folder, _, _ in os.walk('/'):\n"
        "    if not folder.startswith('/proc'):\n"
        "        try: open(folder + '/x', 'w'); sys.exit(folder)\n"
        "        except OSError as error: assert error.errno in (errno.EROFS, errno.EACCES), folder\n"
    )
    assert _python(image, code) == f"1 {USER_ID} {USER_ID} [{USER_ID}] {USER}\n"


def test_authorities_and_time_zones(image: Image) -> None:
    """TLS to a broker trusts the authorities of Debian without any setting; time zones are known."""
    code = (
        "import ssl, zoneinfo; print(ssl.create_default_context().cert_store_stats()['x509_ca'] > 100,"
        " zoneinfo.ZoneInfo('Europe/Berlin'))"
    )
    assert _python(image, code) == "True Europe/Berlin\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--version"], 0, __version__),
        (["--help"], 0, "--broker-url"),
        ([], 2, "demo"),
        (["--broker-url", "redis://127.0.0.1:1/0", "--check-config"], 0, ""),
    ],
)
def test_commands(image: Image, arguments: list[str], code: int, said: str) -> None:
    """The entry point takes arguments, and ends with the codes that the documentation names."""
    done = image.run(*image.settings["Entrypoint"], *arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
