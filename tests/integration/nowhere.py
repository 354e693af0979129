"""Brokers that are not there, and which of them an exporter looks for."""

from tests.integration.servers import HOST, ExporterProcess, free_port


def nowhere(user: str = "") -> str:
    """The URL of a broker that nobody runs."""
    return f"redis://{user}{HOST}:{free_port()}/0"


def broker_of_complaint(exporter: ExporterProcess) -> str:
    """The broker that the exporter complains about."""
    line = exporter.process.wait_until(
        lambda: next(
            (line for line in exporter.stderr.splitlines() if "cannot receive events, trying again" in line),
            "",
        ),
        timeout=10,
        what="a refused connection",
    )
    return line.partition(" broker=")[2].partition(" ")[0]
