#!/usr/bin/env python3
"""Lays out the root file system of the final image: what Python and the exporter need, and nothing else.

usage: image_root.py VENV ROOT (in the build stage of the Dockerfile, as root, on a Debian-based Python image)

ROOT gets the interpreter with its standard library (without what installs, tests or draws), the virtual environment
VENV, the shared libraries that these are linked with, certificate authorities, time zones, and the user. It gets no
shell, no package manager, no pip and no file with a set-user-id bit. /var/lib/dpkg/status.d names the Debian packages
that its files come from, in the way of Google's distroless images, so that a scanner for known flaws finds them;
/usr/share/doc holds their licences.
"""

import compileall
import os
import py_compile
import shutil
import ssl
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

USER = "celery-exporter"
USER_ID = 10001

# Of the standard library: what brings pip along, development tools, windows and terminals, tests, and modules whose
# libraries (SQLite, Berkeley DB, Kerberos through NIS, ncurses) are often named by scanners and never used here.
LEFT_OUT = (
    "__pycache__",
    "_crypt*.so",
    "_curses*.so",
    "_dbm*.so",
    "_gdbm*.so",
    "_sqlite3*.so",
    "_tkinter*.so",
    "config-*",
    "curses",
    "dist-packages",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "nis*.so",
    "readline*.so",
    "site-packages",
    "sqlite3",
    "test",
    "tkinter",
    "turtle.py",
    "turtledemo",
)
# Empty folders, for what the container's runtime mounts.
MOUNT_POINTS = ("dev", "proc", "run", "sys", "tmp")
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
ZONES = Path("/usr/share/zoneinfo")
DPKG = Path("/var/lib/dpkg")


class Root:
    """The folder that becomes the image's root, and the files of the build stage that went into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copied: set[Path] = set()

    def place(self, path: Path) -> Path:
        """Where a path of the build stage lies here; its folders exist, their links (/lib -> usr/lib) are followed."""
        real = path.parent.resolve()
        place = self.folder / real.relative_to("/")
        place.mkdir(parents=True, exist_ok=True)
        return place / path.name

    def add_file(self, path: Path) -> None:
        """Copy a file under its own name, whatever that links to."""
        shutil.copy2(path, self.place(path))
        self.copied.add(path.resolve())

    def add_command(self, path: Path) -> None:
        """Copy a program with the links that lead to it."""
        while path.is_symlink():
            link = self.place(path)
            link.unlink(missing_ok=True)
            link.symlink_to(path.readlink())
            path = path.parent / path.readlink()
        self.add_file(path)

    def add_tree(self, path: Path, *left_out: str, symlinks: bool = False) -> None:
        """Copy a folder; without ``symlinks`` links become what they point to."""
        shutil.copytree(
            path,
            self.place(path),
            symlinks=symlinks,
            ignore=shutil.ignore_patterns(*left_out),
            dirs_exist_ok=True,
        )

    def write(self, path: str, text: str) -> None:
        """Write a file of our own."""
        self.place(Path(path)).write_text(text, encoding="utf-8")


def main(venv: Path, folder: Path) -> None:
    """Fill ``folder``."""
    root = Root(folder)
    for name in ("bin", "lib", "lib64", "sbin"):
        link = Path("/", name)
        if link.is_symlink():  # Debian's merged /usr
            root.place(link).symlink_to(link.readlink())
    python = Path(sys.executable)
    for name in {python.name, "python", "python3"}:
        root.add_command(python.parent / name)
    stdlib = Path(sysconfig.get_path("stdlib"))
    root.add_tree(stdlib, *LEFT_OUT)
    root.add_tree(venv, "__pycache__", "[Aa]ctivate*", symlinks=True)
    shutil.rmtree(root.place(venv) / "include")
    objects = [python.resolve(), *folder.rglob("*.so")]
    for library in sorted(set(shared_libraries(objects))):
        root.add_file(library)
    add_settings(root)
    add_origins(root, [python.resolve(), stdlib / "os.py", BUNDLE, ZONES / "UTC"])
    # No time stamps and no hashes are compared at a start: nothing of the image changes.
    compileall.compile_dir(
        folder,
        quiet=1,
        stripdir=str(folder),
        prependdir="/",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        workers=0,
    )
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o755)  # no set-user-id, and only root writes
    for name in MOUNT_POINTS:
        (folder / name).mkdir()
    (folder / "tmp").chmod(0o1777)


def shared_libraries(objects: Iterable[Path]) -> Iterator[Path]:
    """Ask the dynamic linker what these are linked with, the linker itself included."""
    for one in objects:
        # A library that a wheel brings along ("$ORIGIN") lies in the environment, which is copied whole.
        told = subprocess.run(["ldd", one], capture_output=True, text=True, check=False).stdout  # noqa: S607
        if "not found" in told:
            raise SystemExit(f"image_root: {one} needs a library that is not here:\n{told}")
        for word in told.split():
            if word.startswith("/") and not word.startswith("/opt/"):
                yield Path(word)


def add_settings(root: Root) -> None:
    """Write what the C library, OpenSSL and the user's name need."""
    root.write("/etc/passwd", f"root:x:0:0::/:/\n{USER}:x:{USER_ID}:{USER_ID}::/:/\n")
    root.write("/etc/group", f"root:x:0:\n{USER}:x:{USER_ID}:\n")
    root.write("/etc/nsswitch.conf", "hosts: files dns\n")
    root.add_file(Path("/etc/os-release"))
    root.add_file(BUNDLE)
    root.place(Path(ssl.get_default_verify_paths().openssl_cafile)).symlink_to(BUNDLE)
    root.add_tree(ZONES, "posix", "right", symlinks=True)
    root.add_file(Path("/etc/ld.so.conf"))
    root.add_tree(Path("/etc/ld.so.conf.d"))
    subprocess.run(["ldconfig", "-r", root.folder], check=True)  # noqa: S607


def add_origins(root: Root, more: Iterable[Path]) -> None:
    """Name the Debian packages that the copied files, and the files ``more``, come from."""
    owners = dict(owned_files())
    packages = {owners[path] for path in {*root.copied, *(path.resolve() for path in more)} if path in owners}
    for package in sorted(packages):
        asking = ["dpkg-query", "--status", package]
        status = subprocess.run(asking, capture_output=True, text=True, check=True).stdout
        name = package.partition(":")[0]
        root.write(f"{DPKG}/status.d/{name}", status)
        # Read here and written there: the folder of one package may be a link to that of another.
        licence = Path("/usr/share/doc", name, "copyright").read_text(encoding="utf-8")
        own = root.folder / "usr/share/doc" / name
        own.mkdir(parents=True, exist_ok=True)
        (own / "copyright").write_text(licence, encoding="utf-8")
    if not packages:
        raise SystemExit("image_root: no file of a Debian package was copied; is this a Debian-based image?")


def owned_files() -> Iterator[tuple[Path, str]]:
    """Pairs of a file (its links followed) and the Debian package that it belongs to."""
    for listing in (DPKG / "info").glob("*.list"):
        for line in listing.read_text(encoding="utf-8").splitlines():
            if os.path.isfile(line) and not os.path.islink(line):  # noqa: PTH113, PTH114 - thousands of lines
                yield Path(os.path.realpath(line)), listing.stem


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
