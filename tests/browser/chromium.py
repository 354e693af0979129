"""A headless Chromium, spoken to over a pipe in its DevTools protocol: no port, no driver, no download.

Owns the process and the messages. What a page says and asks for (console, dialogs, requests) is kept in
:class:`Tab`. Source of the facts: https://chromedevtools.github.io/devtools-protocol/ and Chromium's
``content/browser/devtools/devtools_pipe_handler.cc``: file descriptors 3 and 4, messages that end in a zero byte.
"""

import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.integration.servers.requirements import chromium_binary

_ANSWER_S = 60.0
_END_S = 10.0

#: Puts the two pipes where Chromium looks for them, and becomes it.
_EXEC = """
import fcntl, os, sys
reading, writing = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(reading, 3)
os.dup2(writing, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""

_FLAGS = (
    "--headless",
    "--no-sandbox",  # which refuses to run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-breakpad",  # whose processes leave our group
    "--disable-crash-reporter",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--mute-audio",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)


class Chromium:
    """One browser with its profile in ``folder``; a context manager that starts and stops it."""

    def __init__(self, folder: Path, *, env: Mapping[str, str] | None = None) -> None:
        """``env``: the whole environment, by default ours; but its home is the folder."""
        binary = chromium_binary()
        assert binary is not None, "no Chromium; require('chromium') first"
        self._binary = binary
        self._folder = folder
        self._env = env
        self._ids = itertools.count(1)
        self._sending = threading.Lock()
        self._answers: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._listeners: dict[str, Callable[[str, dict[str, Any]], None]] = {}

    def __enter__(self) -> Self:
        """Start."""
        self._folder.mkdir(parents=True, exist_ok=True)
        its_in, our_out = os.pipe()
        our_in, its_out = os.pipe()
        argv = [sys.executable, "-c", _EXEC, str(its_in), str(its_out), self._binary, *_FLAGS]
        with (self._folder / "chromium.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*argv, f"--user-data-dir={self._folder / 'profile'}", "about:blank"],
                pass_fds=(its_in, its_out),
                stdout=log,
                stderr=log,
                env={**(os.environ if self._env is None else self._env), "HOME": str(self._folder)},
                start_new_session=True,
            )
        os.close(its_in)
        os.close(its_out)
        self._out = os.fdopen(our_out, "wb", buffering=0)
        self._in = os.fdopen(our_in, "rb", buffering=0)
        self._reader = threading.Thread(target=self._read, name="chromium", daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it, and whatever it has started."""
        with suppress(OSError, AssertionError):
            self.ask("Browser.close")
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_END_S)
        self._out.close()
        self._reader.join(_END_S)
        self._in.close()

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its result; an error is an AssertionError."""
        number = next(self._ids)
        answers = self._answers[number] = queue.SimpleQueue()
        self._send(number, method, session, parameters)
        try:
            answer = answers.get(timeout=_ANSWER_S)
        except queue.Empty:
            raise AssertionError(f"{method}: Chromium does not answer; its log: {self._tail()}") from None
        finally:
            del self._answers[number]
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def tell(self, method: str, session: str, **parameters: Any) -> None:
        """Send a command whose result nobody waits for; may be called by listeners."""
        self._send(next(self._ids), method, session, parameters)

    def _send(self, number: int, method: str, session: str | None, parameters: Mapping[str, Any]) -> None:
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        with self._sending:
            self._out.write(json.dumps(message).encode() + b"\0")

    def listen(self, session: str, listener: Callable[[str, dict[str, Any]], None]) -> None:
        """Let ``listener`` have (method, parameters) of each event of a session, in the reader's thread."""
        self._listeners[session] = listener

    def _read(self) -> None:
        rest = b""
        with suppress(OSError, ValueError):
            while data := self._in.read(1 << 16):
                *messages, rest = (rest + data).split(b"\0")
                for message in map(json.loads, messages):
                    self._take(message)
        for answers in tuple(self._answers.values()):
            answers.put({"error": "Chromium has ended"})

    def _take(self, message: Mapping[str, Any]) -> None:
        if "id" in message:
            answers = self._answers.get(message["id"])
            if answers is not None:
                answers.put(dict(message))
            return
        listener = self._listeners.get(message.get("sessionId", ""))
        if listener is not None:
            listener(message["method"], message["params"])

    def _tail(self) -> str:
        return (self._folder / "chromium.log").read_text(errors="replace")[-2000:]
