"""Images built by buildah, in a store of their own that leaves nothing behind."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Store:
    """Where buildah keeps its images: ``folder``, which the caller removes."""

    folder: Path

    def run(self, *arguments: str | Path) -> str:
        """Run a command of buildah and return what it printed; it says itself why it failed."""
        done = subprocess.run(
            [
                "buildah",
                *(
                    "--root",
                    self.folder / "images",
                    "--runroot",
                    self.folder / "run",
                    "--storage-driver",
                    "vfs",
                ),
                *arguments,
            ],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "TMPDIR": str(self.folder)},
        )
        if done.returncode != 0:
            raise SystemExit(f"image-check: buildah {arguments[0]} failed\n{done.stdout[-3000:]}")
        return done.stdout.strip()

    def import_root(self, root: Path, name: str) -> None:
        """Make an image of a root file system."""
        archive = self.folder / "root.tar"
        subprocess.run(["tar", "--directory", root, "--create", "--file", archive, "."], check=True)
        container = self.run("from", "scratch")
        self.run("add", container, archive, "/")
        archive.unlink()
        path = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.run("config", "--env", f"PATH={path}", container)
        self.run("commit", "--quiet", "--rm", container, name)

    def build(self, context: Path, name: str, secret: Path, arguments: dict[str, str]) -> None:
        """Build ``context``'s Dockerfile as it stands, with pip's settings in ``secret``; nothing is pulled."""
        self.run(
            "bud",
            *("--format", "docker"),  # the other format has no health check
            *("--isolation", "chroot", "--pull-never", "--no-cache", "--tag", name),
            *("--secret", f"id=pip.conf,src={secret}"),
            *(f"--build-arg={key}={value}" for key, value in arguments.items()),
            context,
        )

    def settings(self, name: str) -> dict[str, Any]:
        """What the image says of how it is to be run, in the words of Docker's format."""
        found: dict[str, Any] = json.loads(self.run("inspect", "--type", "image", name))["Docker"]["config"]
        return found

    def root(self, name: str) -> Path:
        """The image's root file system, of a container that is not started."""
        return Path(self.run("mount", self.run("from", "--pull-never", name)))

    def packed_bytes(self, name: str) -> int:
        """How much a registry would store and a node download: the layers, compressed by gzip."""
        folder = self.folder / "packed"
        self.run("push", "--quiet", name, f"oci:{folder}:check")
        return sum(path.stat().st_size for path in (folder / "blobs").rglob("*") if path.is_file())
