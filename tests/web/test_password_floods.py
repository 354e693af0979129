"""The real exporter under a flood of wrong passwords from many addresses: who has the right one gets in."""

import base64
import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import bcrypt
import pytest

from tests.integration.servers import HOST, ExporterProcess
from tests.waiting import wait_for
from tests.web_files import PASSWORD, users

TIMEOUT_S = 60.0
COST = 11


def ask(url: str, source: str, password: str) -> int:
    """The status of a scrape from an address of this machine."""
    host, port = urlsplit(url).netloc.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S, source_address=(source, 0))
    try:
        token = base64.b64encode(f"alice:{password}".encode()).decode()
        connection.request("GET", "/metrics?name[]=up", headers={"Authorization": f"Basic {token}"})
        with connection.getresponse() as response:
            response.read()
            return response.status
    finally:
        connection.close()


@contextmanager
def flood(url: str, addresses: int) -> Iterator[Counter[int]]:
    """From each of so many addresses, one wrong password after the other; the answers, counted."""
    over, answers = threading.Event(), Counter[int]()

    def guess(source: str) -> None:
        number = 0
        while not over.is_set():
            number += 1
            with suppress(OSError):
                answers[ask(url, source, f"{source} {number}")] += 1

    threads = [
        threading.Thread(target=guess, args=(f"127.0.1.{number}",)) for number in range(1, addresses + 1)
    ]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("addresses", [3, 40])
def test_right_password_is_checked_soon(tmp_path: Path, addresses: int) -> None:
    """Whoever comes anew gets in at the first attempt, within the time of three checks with the rests after them."""
    hash_ = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(COST))
    began = time.thread_time()
    bcrypt.checkpw(b"wrong", hash_)
    check = time.thread_time() - began
    web = tmp_path / "web.yml"
    web.write_text(users("alice", hash_=hash_.decode()))
    options = ("--broker-url", f"redis://{HOST}:1/0", "--web.config.file", str(web))
    with (
        ExporterProcess(tmp_path / "exporter", options) as exporter,
        flood(exporter.url, addresses) as answers,
    ):
        wait_for(
            lambda: answers[429] >= 10 * addresses or answers[401] > 5, timeout=TIMEOUT_S, what="a flood"
        )
        for source in ("127.0.0.2", "127.0.0.3"):
            # Another hash: what was known of the passwords is forgotten.
            web.write_text(
                users("alice", hash_=bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(COST)).decode())
            )
            began = time.monotonic()
            assert ask(exporter.url, source, PASSWORD) == 200
            assert time.monotonic() - began < 3 * 4 * check + 1
            assert ask(exporter.url, source, PASSWORD) == 200
