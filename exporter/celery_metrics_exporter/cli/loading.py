"""What to tell a user when the exporter itself cannot be imported: in one line, whatever a dependency raised."""

from __future__ import annotations

import traceback


def loading_failure(error: Exception) -> str:
    """One line that names the error, where it was raised and what to do."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")
    ]
    place = f" in {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
    return (
        f"the exporter cannot be imported: {type(error).__name__}: {error}{place}: "
        "reinstall the package that this file belongs to"
    )
