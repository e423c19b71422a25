"""Log records name the job in which they were made."""

import json
import logging
import sys
from collections.abc import Callable, Iterator

import pytest

from aiostreamq.client.current_job import JOB, JobFilter, current_job
from aiostreamq.worker.logs.formatters import JsonFormatter, TextFormatter
from tests.support.hostile_text import HOSTILE_TEXTS, steering


class Unshowable:
    """Raises whatever is asked of it."""

    def __str__(self) -> str:
        raise KeyboardInterrupt

    __repr__ = __str__


class Falling(Exception):
    """An exception that cannot be described."""

    def __str__(self) -> str:
        raise SystemExit


def cycle() -> list[object]:
    """Return a list that holds itself."""
    found: list[object] = []
    found.append(found)
    return found


def deep() -> list[object]:
    """Return lists in lists, more than a stack bears."""
    found: list[object] = []
    for _ in range(100_000):
        found = [found]
    return found


#: What people give with `extra=`.
ODD_VALUES: dict[str, Callable[[], object]] = {
    "object": object,
    "unshowable": Unshowable,
    "cycle": cycle,
    "deep": deep,
    "not a number": lambda: float("nan"),
    "keys that are no strings": lambda: {(1, 2): {3}},
    "keys that are none": lambda: {Unshowable(): 1},
    "bytes": lambda: b"\xff",
    "half a pair": lambda: "\ud800",
    "exception": lambda: ValueError("no"),
    "big": lambda: 2**99,
    "in a list": lambda: [Unshowable()],
}


def record(name: str = "app", message: object = "hello", *args: object) -> logging.LogRecord:
    """Make a log record as a logger of that *name* does, as a handler with our filter gets it."""
    made = logging.LogRecord(name, logging.INFO, "app.py", 7, message, args, None)
    JobFilter().filter(made)
    return made


def told(made: logging.LogRecord) -> dict[str, object]:
    """Return what is logged of a record as JSON."""
    line = JsonFormatter().format(made)
    assert line.isascii()
    assert line.isprintable()
    found: dict[str, object] = json.loads(line)
    return found


@pytest.fixture
def _in_a_job() -> Iterator[None]:
    token = JOB.set(("size", "7", 2, "w1", None, None))
    yield
    JOB.reset(token)


@pytest.mark.usefixtures("_in_a_job")
def test_of_a_job() -> None:
    """What user code logs says which job it was."""
    assert TextFormatter().format(record()).endswith("hello  task=size  job_id=7  attempt=2")
    one = told(record())
    assert (one["task"], one["job_id"], one["attempt"]) == ("size", "7", 2)
    assert one["worker"] == "w1"


def test_of_no_job() -> None:
    """Nothing is said of a job where there is none."""
    assert current_job() is None
    assert TextFormatter().format(record()).endswith("INFO    hello")
    assert set(told(record())) == {"at", "level", "logger", "message"}


@pytest.mark.usefixtures("_in_a_job")
def test_of_ours() -> None:
    """What the library logs says itself which job it means: not the one that it happened in."""
    made = logging.LogRecord("aiostreamq.worker", logging.INFO, "", 0, "hello", (), None)
    made.__dict__.update(task="other", job_id="8")
    JobFilter().filter(made)
    one = told(made)
    assert (one["task"], one["job_id"], one.get("attempt")) == ("other", "8", None)
    assert "task" not in told(record("aiostreamq.redis"))


@pytest.mark.usefixtures("_in_a_job")
def test_filter_for_own_handlers() -> None:
    """Formats can name the four fields, in a job and outside."""
    assert current_job() == ("size", "7", 2)
    formatter = logging.Formatter("%(message)s %(task)s %(job_id)s %(attempt)s %(worker)s")
    assert formatter.format(record()) == "hello size 7 2 w1"
    JOB.set(None)
    assert formatter.format(record()) == "hello None None None None"


@pytest.mark.usefixtures("_in_a_job")
def test_filter_keeps_what_is_there() -> None:
    """A record that has such a field of its own keeps it."""
    made = logging.LogRecord("app", logging.INFO, "", 0, "hello", (), None)
    made.__dict__["job_id"] = "request-7"
    JobFilter().filter(made)
    assert vars(made)["job_id"] == "request-7"


def test_queued_record() -> None:
    """A record that is handled in another thread keeps the job it was made in."""
    token = JOB.set(("size", "7", 2, "w1", None, None))
    made = record()
    JOB.reset(token)
    JobFilter().filter(made)
    assert told(made)["job_id"] == "7"


def test_extra() -> None:
    """All that extra= adds is kept, under its name."""
    made = record()
    made.__dict__.update(tenant=7, tags=["a", "b"], task="mine")
    one = told(made)
    assert (one["tenant"], one["tags"], one["task"]) == (7, ["a", "b"], "mine")


@pytest.mark.usefixtures("_in_a_job")
def test_extra_beside_ours() -> None:
    """What has a name of ours is kept aside, and ours stays."""
    made = record()
    made.__dict__.update(task="mine", level="high", extra="more", at=None)
    one = told(made)
    assert (one["task"], one["level"]) == ("size", "info")
    assert one["extra"] == {"task": "mine", "level": "high", "at": None, "extra": "more"}


@pytest.mark.parametrize("odd", ODD_VALUES.values(), ids=ODD_VALUES)
def test_odd_extra(odd: Callable[[], object]) -> None:
    """Whatever a field holds, the line is JSON and has all the others."""
    made = record()
    made.__dict__.update(before=1, odd=odd(), after=2)
    one = told(made)
    assert "odd" in one
    assert (one["message"], one["before"], one["after"]) == ("hello", 1, 2)


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
@pytest.mark.parametrize(
    "made",
    [
        lambda: record("app", "%d jobs", "many"),
        lambda: record("app", "%s %s", 1),
        lambda: record("app", "%s", Unshowable()),
        lambda: record("app", Unshowable()),
        lambda: record("app", "%(a)s", {"b": 1}),
    ],
)
def test_wrong_call(formatter: logging.Formatter, made: Callable[[], logging.LogRecord]) -> None:
    """A call whose arguments do not fit is logged with where it was made."""
    assert "in the log call at app.py:7" in formatter.format(made())


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_exception_that_cannot_be_described(formatter: logging.Formatter) -> None:
    """It does not cost the line."""
    made = record()
    try:
        raise Falling
    except Falling:
        made.exc_info = sys.exc_info()
    assert "Falling" in formatter.format(made)


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
def test_hostile_text(text: str) -> None:
    """Message, fields, traceback and stack cannot steer a terminal, nor look like lines."""
    made = record("app", text)
    made.__dict__.update(task=text, extra=text)
    made.exc_text = f"Traceback:\n  {text}"
    made.stack_info = f"Stack:\n  {text}"
    shown = TextFormatter().format(made)
    assert not steering(shown)
    assert shown.split("\n")[0].endswith("z")
    assert told(made)["message"] == text
