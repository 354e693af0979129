"""A small process that kills the demo's children and removes its folder when the demo has ended in any way.

Run as a script, `python sweeper.py FOLDER`, with the read end of a pipe as standard input; only the demo holds its
write end. A line "+PID" names a child, the leader of its own process group, "-PID" a child that has ended. The pipe
closes when the demo ends, crashes or is killed with SIGKILL. The script imports only the standard library, so that it
starts at once and depends on nothing that could be broken. (PR_SET_PDEATHSIG works only on Linux, does not reach the
children's children, and would leave the folder.)
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path


def main() -> None:
    """Keep the list of children until the pipe closes, then kill them and remove the folder."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    folder = Path(sys.argv[1])
    groups: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        if line.startswith("+"):
            groups.add(pid)
        else:
            groups.discard(pid)
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(0.1)  # a dying child may have written a file while the folder was removed


if __name__ == "__main__":
    main()
