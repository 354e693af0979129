"""A small process that kills the demo's children and removes its folder when the demo has ended in any way.

Run as a script, `python sweeper.py FOLDER`. It leads the process group of the children, and its standard input is a
pipe that closes when the demo ends, crashes or is killed with SIGKILL. The script imports only the standard library, so
that it starts at once and depends on nothing that could be broken. (PR_SET_PDEATHSIG works only on Linux, does not
reach the children's children, and would leave the folder.)
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    """Wait until the pipe closes, then remove the folder and kill the group, this process included."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.read()
    remove(Path(sys.argv[1]))
    os.killpg(0, signal.SIGKILL)


def remove(folder: Path) -> None:
    """Remove the folder, although a process may write a file into it meanwhile."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(0.1)


if __name__ == "__main__":
    main()
