"""Label values are safe, and exceptions are named by class only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_metrics_exporter.labels import (
    MAX_LENGTH,
    SeriesLimit,
    clean,
    exception_class,
    has_shared_label,
    is_shared_label,
    queue_label,
)

FRAMES = ['  File "/a.py", line 1, in f', "    g()", '  File "/b.py", line 2, in g', "    x"]
TRACEBACK = "\n".join(["Traceback (most recent call last):", *FRAMES, ""])


@pytest.mark.parametrize("name", ["shop.orders.charge", "zażółć", "任務", "a b", "x" * MAX_LENGTH])
def test_ordinary_names_stay(name: str) -> None:
    """What can stand in a label stays as it is."""
    assert clean(name) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "unknown"),
        ("a\nb", "a\N{REPLACEMENT CHARACTER}b"),
        ("a\ud800b", "a\N{REPLACEMENT CHARACTER}b"),
        ("\x00\x1b[31m", "\N{REPLACEMENT CHARACTER}" * 2 + "[31m"),
        ("x" * 1_000_000, "x" * MAX_LENGTH),
    ],
)
def test_hostile_names_are_tamed(name: str, expected: str) -> None:
    """Control characters and surrogates are replaced, length is bounded."""
    assert clean(name) == expected


@given(st.text(alphabet=st.characters()))
def test_every_name_can_be_encoded(name: str) -> None:
    """No label value can break the encoding of a scrape."""
    assert 0 < len(clean(name).encode()) <= 4 * MAX_LENGTH


@pytest.mark.parametrize(
    ("exception", "traceback", "expected"),
    [
        ("ValueError('boom')", None, "ValueError"),
        ("ValueError()", None, "ValueError"),
        ("KeyError", None, "KeyError"),
        ("shop.errors.OutOfStock('x')", None, "OutOfStock"),
        ("<Payment: declined>", None, "Payment"),
        ("Błąd('x')", None, "Błąd"),
        (
            "ExceptionWithTraceback()",
            TRACEBACK + "billiard.exceptions.TimeLimitExceeded: TimeLimitExceeded(1,)",
            None,
        ),
        (
            "ExceptionWithTraceback()",
            '\n"""\n' + TRACEBACK + 'ValueError: one\ntwo: three\n"""',
            "ValueError",
        ),
        ("None", TRACEBACK + "celery.exceptions.Retry: Retry in 3s", "Retry"),
        ("Retry(Retry(...), ConnectionError('no'), 2.0)", None, "ConnectionError"),
        ("Retry(OSError('n'), 0)", None, "OSError"),
        ("Retry(<class 'shop.MyErr'>, 0)", None, "MyErr"),
        ("Retry(Retry(...), <class 'MyErr'>, 0)", TRACEBACK + "celery.exceptions.Retry: x", "MyErr"),
        ("Retry(Retry(...), <MyErr: x>, 0)", None, "MyErr"),
        ("Retry(<no class>, 0)", None, "Retry"),
        ("<class 'shop.errors.MyErr'>", None, "MyErr"),
        ("<class 'shop.errors.MyErr'>", TRACEBACK + "Retry: Retry in 0s", "MyErr"),
        ("<class 'no name'>", None, "unknown"),
        ("Retry('later')", TRACEBACK + "celery.exceptions.Retry: later", "Retry"),
        ("Retry(Retry(...), None, 0)", TRACEBACK + "celery.exceptions.Retry: Retry in 0s", "Retry"),
        ("reject requeue=False: no", TRACEBACK + "celery.exceptions.Reject: ('no', False)", "Reject"),
        ("odd: one", TRACEBACK + "shop.OddError: one", "OddError"),
        ("<odd: one>", TRACEBACK + "shop.OddError: one", "OddError"),
        ("boom happened here", TRACEBACK + "shop.Odd: boom", "Odd"),
        ("42", TRACEBACK, "unknown"),
        (None, TRACEBACK + "KeyError: 'secret'", "KeyError"),
        (None, None, "unknown"),
        ("", "", "unknown"),
        ("ExceptionWithTraceback()", None, "unknown"),
        ("\N{VULGAR FRACTION ONE HALF}()", None, "unknown"),
    ],
)
def test_exception_class(exception: str | None, traceback: str | None, expected: str | None) -> None:
    """The class comes from the repr, else from the line after the last frame, never with a message."""
    assert exception_class(exception, traceback) == (expected or "TimeLimitExceeded")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Retry in 0s: OSError('n')", "OSError"),
        ("Retry in 2.5s: shop.errors.OutOfStock('Retry in 3s: x')", "OutOfStock"),
        ("Retry at 2026-01-31 12:00:00.123456+00:00: KeyError('a: b')", "KeyError"),
        ("Retry at 2026-01-31 12:00:00: KeyError", "KeyError"),
        ("Retry in 0s", "Retry"),
        ("Retry in 0s: <no class>", "Retry"),
        ("Retry in 0s: <class 'no class'>", "Retry"),
        ("Retry in 0s: <class 'shop.errors.OutOfStock'>", "OutOfStock"),
        ("Retry in 0s: <class 'shop.f.<locals>.OutOfStock'>", "OutOfStock"),
        ("Retry at 2026-01-31 12:00:00: <class 'KeyError'>", "KeyError"),
        ("Retry in 0s: <OutOfStock: no apples>", "OutOfStock"),
        ("Retry in 0s: <shop.OutOfStock object at 0x7f01>", "OutOfStock"),
        ("Retry in 0s: <OutOfStock>", "OutOfStock"),
        ("later, please", "Retry"),
    ],
)
@pytest.mark.parametrize("module", ["", "celery.exceptions."])
@pytest.mark.parametrize("exception", ["None", "Retry", "Retry()", None])
def test_the_text_of_a_retry_names_the_class(
    exception: str | None, module: str, text: str, expected: str
) -> None:
    """Celery 4.4 and 5.0 name the exception nowhere else."""
    assert exception_class(exception, f"{TRACEBACK}{module}Retry: {text}") == expected


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("bcast.0f8fad5b-d9cb-469f-a165-70867728950e", "bcast.*"),
        ("news.0f8fad5b-d9cb-469f-a165-70867728950e", "news.*"),
        ("a.b.0f8fad5b-d9cb-469f-a165-70867728950e", "a.b.*"),
        ("celery@host.dq2", "*.dq2"),
        ("celery", "celery"),
        ("bcast", "bcast"),
        ("0f8fad5b-d9cb-469f-a165-70867728950e", "0f8fad5b-d9cb-469f-a165-70867728950e"),
        ("bcast.0f8fad5b-d9cb-469f-a165-70867728950e.x", "bcast.0f8fad5b-d9cb-469f-a165-70867728950e.x"),
        ("dq2", "dq2"),
        ("z" * 300 + ".0f8fad5b-d9cb-469f-a165-70867728950e", "z" * 198 + ".*"),
        ("a\nb.0f8fad5b-d9cb-469f-a165-70867728950e", "a\N{REPLACEMENT CHARACTER}b.*"),
    ],
)
def test_queues_of_one_process_share_a_label(name: str, label: str) -> None:
    """Those of Broadcast and worker_direct, and no other; the label of a label is itself."""
    assert queue_label(name) == label
    assert queue_label(label) == label
    assert is_shared_label(label) == (name != label)


@given(st.text(), st.text())
def test_exception_class_is_a_plain_word(exception: str, traceback: str) -> None:
    """Whatever repr and traceback are, the label is one identifier."""
    assert exception_class(exception, traceback).isidentifier()


def test_a_limit_counts_what_it_refuses() -> None:
    """A family has room for as many label sets as the limit says; each refusal is counted under its name."""
    limit = SeriesLimit(2)
    assert [limit.admits("a", size) for size in (0, 1, 2, 3)] == [True, True, False, False]
    assert not limit.admits("b", 2)
    assert limit.overflows == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("name", "label"), [("tab\tq", "tab\N{REPLACEMENT CHARACTER}q"), ("z" * 300, "z" * 200), ("", "unknown")]
)
def test_the_label_of_a_queue_is_clean(name: str, label: str) -> None:
    """Without control characters, and cut; it may be the name of another queue."""
    assert queue_label(name) == queue_label(label) == label
    assert has_shared_label(name)
    assert not is_shared_label(label)
