"""A small run of the fuzzer; ``make fuzz`` makes a large one."""

import logging

import pytest

from tests.fuzz.run import Fuzzer


@pytest.mark.parametrize("seed", [100, 101])
def test_mutants_do_no_harm(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Of some thousand mutants none escapes, fails a handler, poisons a scrape or costs a good event."""
    caplog.set_level(logging.CRITICAL)
    result = Fuzzer(seed).run(3_000)
    assert result.markers > 500
    assert result.handled > 2_000
    assert set(result.dropped) >= {"undecodable", "invalid", "oversized"}
    assert min(result.dropped["undecodable"], result.dropped["invalid"], result.retimed) > 50
