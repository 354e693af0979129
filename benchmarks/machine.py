"""On what something was measured."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What stands in a page beside its numbers."""

    hardware: str
    python: str

    @classmethod
    def here(cls) -> "Machine":
        """This one."""
        return cls(
            hardware=f"{_cpu_model()}, {os.cpu_count()} cores, {_memory()}, Linux {platform.release()}",
            python=f"{platform.python_implementation()} {platform.python_version()}",
        )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _memory() -> str:
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{size / 2**30:.0f} GiB"
