"""The committed recordings and the truth that stands in the code belong together."""

import pytest

from tests.recordings import VERSIONS, load
from tests.recordings.tally import disagreements, tally


@pytest.mark.parametrize("version", VERSIONS)
def test_plain_count_of_a_recording_is_its_truth(version: str) -> None:
    """Whoever changes the workload has to record it anew."""
    recording = load(version)
    assert disagreements(recording.expected, tally(recording.bodies)) == []
