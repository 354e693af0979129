"""What remains when the demo dies: this small process kills the demo's children and removes its folder.

Run as a script, `python sweeper.py FOLDER`, with the read end of a pipe as standard input; the demo holds the only
write end. Lines: "+PID" for a child started as leader of its own process group, "-PID" for one that ended. When the
pipe closes, be it because the demo ended, crashed or was killed with SIGKILL, whatever is left goes.
Imports the standard library only, so that it starts at once and depends on nothing that could be broken.
(PR_SET_PDEATHSIG would be Linux only, would not reach the children's children and would leave the folder.)
"""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path


def main() -> None:
    """Keep the list of children until the pipe closes, then sweep."""
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
        time.sleep(0.1)  # a dying child may have written a file while the folder was being emptied


if __name__ == "__main__":
    main()
