"""Files that were read, and whether they would still read the same.

Contents are compared rather than times: a few kilobytes cost some 10 µs a file, and no file system's clock, link or
replaced folder (as Kubernetes mounts secrets) can hide a change.
"""

import os
import stat

_LARGEST = 1_000_000  # bytes; certificates of all public authorities are 200,000


class NamedFiles:
    """Reads files, and remembers what each read gave, for one version of a configuration."""

    def __init__(self) -> None:
        self._seen: dict[str, bytes | str] = {}

    def read(self, path: str) -> bytes:
        """The whole content. Raises OSError, whose message says why, without the name."""
        outcome = self._seen[path] = _read(path)
        if isinstance(outcome, str):
            raise OSError(outcome)
        return outcome

    def unchanged(self) -> bool:
        """Whether all of them would give again what they gave, failures included."""
        return all(_read(path) == outcome for path, outcome in self._seen.items())


def _read(path: str) -> bytes | str:
    try:
        # A pipe would make the open wait for its writer, and can be read once only.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return "not a regular file"
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(_LARGEST + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        return (error.strerror or "cannot be read").lower()
    except ValueError:
        return "not a file name"
    return content if len(content) <= _LARGEST else f"larger than {_LARGEST} bytes"
