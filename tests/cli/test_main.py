"""The command line as a user meets it: real processes, their exit codes and their one line on standard error."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from celery_metrics_exporter.cli.main import commands
from tests.command import COMMAND, ROOT, Running, environment, run

Start = Callable[..., Running]


def refusal(*args: str, code: int = 2, env: Mapping[str, str] | None = None) -> str:
    """The one line with which the command ends, after a look at everything else about its end."""
    ended = run(*args, env=env)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith("celery-exporter: error: ")
    assert ended.stderr.count("\n") == 1
    return ended.stderr.removeprefix("celery-exporter: error: ").strip()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start commands; what still runs after the test is killed."""
    started: list[Running] = []

    def start_one(*args: str, **env: str) -> Running:
        started.append(Running(tmp_path / f"stderr-{len(started)}", args, env))
        return started[-1]

    yield start_one
    for running in started:
        running.process.kill()
        running.process.wait()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "",
            "no broker given: write --broker-url URL (or set CELERY_BROKER_URL), or try `celery-exporter demo`",
        ),
        ("", "`celery-exporter demo`, which brings one (pip install 'celery-metrics-exporter[demo]')"),
        ("--brokr-url redis://:S3cret@host", "unknown option '--brokr-url': write --broker-url"),
        ("run --zzz", "unknown option '--zzz': see --help"),
        ("--redis://:S3cret@host", "unknown option what was given"),
        ("--broker-url", "--broker-url needs a value: write --broker-url TEXT"),
        ("--enable-events=S3cret", "--enable-events takes no value: write it alone"),
        ("redis://:S3cret@host/0", "write --broker-url before the broker's URL"),
        ("run redis://:S3cret@host/0", "write --broker-url before the broker's URL"),
        ("--broker-url memory:// demo", "the command comes first: write celery-exporter demo"),
        ("dmo", "unknown command 'dmo': write one of run, demo, doctor, metrics, healthcheck"),
        ("metrics all", "unexpected argument 'all'"),
        (
            "--broker-url sqs://key:S3cret@",
            "events do not pass through a broker at sqs://: write --no-events",
        ),
        ("--broker-url nats://:S3cret@host", "nats:// is not supported; write one of redis://"),
        ("--broker-url redis://:S3cret/x@host", "malformed"),
        ("--broker-url memory:// --runtime-buckets 1,x", "--runtime-buckets: '1,x' is not a list of numbers"),
        (
            "--broker-url memory:// --native-histogram-schema 1.5",
            "--native-histogram-schema: '1.5' is not a whole",
        ),
        ("--broker-url memory:// --wait-buckets 2,1", "--wait-buckets must increase, 1 comes after 2"),
        ("--broker-url memory:// --worker-timeout soon", "--worker-timeout: 'soon' is not a duration"),
        ("--broker-url memory:// --worker-timeout 0", "--worker-timeout must be more than 0"),
        ("--broker-url memory:// --max-series 0", "--max-series must be at least 1"),
        ("--broker-url memory:// --max-series x", "--max-series: 'x' is not a whole number above 0"),
        ("--broker-url memory:// --web.listen-address 80", "--web.listen-address: '80' is not host:port"),
        (
            "--broker-url memory:// --log.level loud",
            "--log.level: 'loud' is not known: write one of debug, info",
        ),
        ("--broker-url-file /none", "cannot read '/none' (No such file or directory)"),
        ("--broker-url-file redis://:S3cret@host", "write --broker-url for the URL itself"),
        ("--broker-url redis:// --broker-tls-ca-file /none", "--broker-tls-ca-file: cannot read '/none'"),
        (
            "--broker-url redis:// --broker-transport-option S3cret",
            "write for example visibility_timeout=3600",
        ),
        (
            "--broker-url redis:// --event-queue-exclusive --event-queue-durable",
            "cannot be durable at the same time: write --no-event-queue-exclusive or --no-event-queue-durable",
        ),
        ("metrics --format pdf", "--format: 'pdf' is not known: write one of text, markdown"),
        ("demo --duration x", "--duration: 'x' is not a duration"),
    ],
)
def test_bad_usage_ends_in_one_line(line: str, words: str) -> None:
    """Exit code 2, one line that says what to write instead, and no password in it."""
    said = refusal(*line.split())
    assert words in said
    assert "S3cret" not in said


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("CELERY_EXPORTER_RUNTIME_BUCKETS", "1,x", "CELERY_EXPORTER_RUNTIME_BUCKETS: '1,x' is not a list"),
        ("CELERY_EXPORTER_ENABLE_EVENTS", "S3cret", "CELERY_EXPORTER_ENABLE_EVENTS: write true or false"),
        (
            "CELERY_EXPORTER_WEB_LISTEN_ADDRESS",
            ":1 x",
            "CELERY_EXPORTER_WEB_LISTEN_ADDRESS: 'x' is not host:port",
        ),
        ("CELERY_EXPORTER_BROKER_URL_FILE", "/none", "cannot read '/none'"),
        ("CELERY_BROKER_URL", "nats://:S3cret@host", "nats:// is not supported"),
    ],
)
def test_bad_variable_is_named(name: str, value: str, words: str) -> None:
    """Who wrote it in the environment reads the variable's name, not a flag's."""
    said = refusal(env={"CELERY_EXPORTER_BROKER_TLS_VERIFY": "on", name: value})
    assert words in said
    assert "S3cret" not in said


def test_port_in_use_ends_in_one_line() -> None:
    """Exit code 1: nothing is wrong with how the command was written."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = refusal(
            "--broker-url", "memory://", "--web.listen-address", address, "--log.level", "error", code=1
        )
    assert said.startswith(f"cannot listen on {address}: ")
    assert "--web.listen-address" in said


def test_app_that_cannot_be_loaded_ends_in_one_line() -> None:
    """The name that was tried and how to write it."""
    assert "no_such_module" in refusal("--app", "no_such_module:app")


def test_settings_can_be_checked_alone(tmp_path: Path) -> None:
    """--check-config connects to nothing, listens on nothing, ends with 0 if all is right, and else as `run` would."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        taken.settimeout(0)
        host, port = taken.getsockname()
        settings = ("--broker-url", f"redis://{host}:{port}/0", "--web.listen-address", f"{host}:{port}")
        good = run(*settings, "--check-config")
        assert (good.returncode, good.stdout, good.stderr) == (0, "configuration is valid\n", "")
        with pytest.raises(BlockingIOError):
            taken.accept()
    assert "no_such_module" in refusal("--check-config", "--app", "no_such_module:app")
    users = tmp_path / "web.yml"
    users.write_text("basic_auth_user: {}\n", encoding="utf-8")
    assert "basic_auth_users" in refusal(*settings, "--check-config", "--web.config.file", str(users))


def test_exporter_serves_and_ends_on_sigterm(start: Start) -> None:
    """The default command; a variable that no option reads is pointed out; exit code 0."""
    exporter = start(
        "--web.listen-address=127.0.0.1:0",
        CELERY_EXPORTER_BROKER_URL="memory://",
        CELERY_EXPORTER_BROKER_URI="S3cret",
        CELERY_EXPORTER_PORT_9808_TCP="tcp://10.0.0.1:9808",
    )
    url = exporter.line_with('msg="listening" url=').split("url=")[1]
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - the exporter's own address
        assert b"celery_exporter_build_info{" in response.read()
    assert exporter.end(signal.SIGTERM) == 0
    warning = exporter.line_with("unknown environment variable")
    assert "variable=CELERY_EXPORTER_BROKER_URI nearest=CELERY_EXPORTER_BROKER_URL" in warning
    assert "S3cret" not in exporter.stderr
    assert "PORT_9808" not in exporter.stderr
    assert "Traceback" not in exporter.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_before_anything_runs_is_a_clean_end_too(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    """Exit code 0 and not a word, also while the configuration is being read."""
    fifo = tmp_path / "url"
    os.mkfifo(fifo)
    exporter = start("--broker-url-file", str(fifo))
    with fifo.open("wb"):  # returns once the exporter opens the other end, where it then waits for the URL
        assert exporter.end(number) == 0
    assert exporter.stderr == ""


def test_interrupted_doctor_has_no_result(start: Start) -> None:
    """Ctrl-C while it waits for an answer: neither the exit code of health nor that of a failure."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        doctor = start("doctor", "--broker-url", f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        for _ in ("whether a connection is taken", "the login, which gets no answer"):
            silent.accept()[0].detach()
        assert doctor.end(signal.SIGINT) == 130
    assert "Traceback" not in doctor.stderr


def test_exporter_keeps_trying_to_reach_its_broker(start: Start) -> None:
    """An unreachable broker is no reason to end: it says so, without the password, and serves; Ctrl-C gives 0."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, never listening: connections are refused
        broker = f"redis://user:S3cret@127.0.0.1:{closed.getsockname()[1]}/0"
        exporter = start(
            "run", "--broker-url", broker, "--web.listen-address", "127.0.0.1:0", "--log.format", "json"
        )
        exporter.line_with('"listening"')
        exporter.line_with("refused")
        assert exporter.process.poll() is None
        assert exporter.end(signal.SIGINT) == 0
    assert "S3cret" not in exporter.stderr
    assert "Traceback" not in exporter.stderr


def test_help_shows_commands_options_and_variables() -> None:
    """One look shows all there is."""
    shown = run("--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    tree = commands()
    assert all(f"\n  {name} " in shown.stdout for name in tree.commands)
    for option in tree.commands["run"].params:
        assert max(option.opts, key=len) in shown.stdout
        assert str(option.envvar or "") in shown.stdout
    assert "default: 60s]" in " ".join(shown.stdout.split())


def test_reader_that_leaves_early_is_no_error() -> None:
    """`celery-exporter metrics | head -1` shows a line and nothing else."""
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [*COMMAND, "metrics"],
        cwd=ROOT,
        env=environment(),
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_doctor_without_a_reader_has_no_result() -> None:
    """`celery-exporter doctor | head -1` must not say that nothing failed."""
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [*COMMAND, "doctor", "--broker-url", "redis://127.0.0.1:1/0", "--wait", "0"],
        cwd=ROOT,
        env=environment(),
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (130, b"")


@pytest.mark.parametrize("command", ["doctor", "metrics", "healthcheck", "demo"])
def test_a_broken_dependency_is_one_line(command: str, tmp_path: Path) -> None:
    """Whichever command is called: it says which file is broken, without a traceback."""
    for name in ("prometheus_client", "yaml"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('broken on purpose')")
    ended = run(command, env={"PYTHONPATH": str(tmp_path), "CELERY_BROKER_URL": "redis://127.0.0.1:1/0"})
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "RuntimeError: broken on purpose" in line


def test_help_and_refusals_need_no_celery() -> None:
    """celery and kombu are imported only once there is something to do, so that mistakes show at once."""
    script = (
        "import sys, celery_metrics_exporter.cli.main\n"
        "sys.exit(any(name in sys.modules for name in ('celery', 'kombu', 'h11')))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0
