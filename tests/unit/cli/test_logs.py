"""The log formats of the command line: lines for people and JSON."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from aiostreamq import UsageError
from aiostreamq.cli.logs import JsonFormatter, TextFormatter, set_up_logging


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    """Make a log record as the library does."""
    made = logging.LogRecord("aiostreamq.worker", logging.WARNING, "", 0, message, args, None)
    made.__dict__.update(extra)
    return made


def failed() -> logging.LogRecord:
    """Make a record of an exception."""
    made = record("it failed")
    try:
        raise ValueError("no")
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def test_text() -> None:
    """A line says when, how bad, what, and the facts that came along."""
    line = TextFormatter().format(record("%d jobs %s", 3, "failed", job_id="7", task="size"))
    at, level, told = line.split(maxsplit=2)
    assert at.count(":") == 2
    assert (level, told) == ("WARNING", "3 jobs failed  task=size  job_id=7")


def test_text_of_an_exception() -> None:
    """Its traceback follows."""
    line = TextFormatter().format(failed())
    assert "\nTraceback" in line
    assert line.endswith("ValueError: no")


@pytest.mark.parametrize("nasty", ["a\nb", "a\rb", "\x1b[31m", "\u2028", "\x00"])
def test_control_characters(nasty: str) -> None:
    """Whatever a job says of itself, a line stays one line and a terminal stays calm."""
    for line in (
        TextFormatter().format(record("failed", task=nasty)),
        JsonFormatter().format(record("failed", task=nasty)),
    ):
        assert line.isprintable()


def test_json() -> None:
    """One object a line, with the same facts under their names."""
    told = json.loads(JsonFormatter().format(record("failed %s", "so", job_id="7", attempt=2)))
    assert told.pop("at") > 0
    assert told == {
        "level": "warning",
        "logger": "aiostreamq.worker",
        "message": "failed so",
        "job_id": "7",
        "attempt": 2,
    }


def test_json_of_an_exception() -> None:
    """The traceback is a field."""
    line = JsonFormatter().format(failed())
    assert "\n" not in line
    assert json.loads(line)["traceback"].endswith("ValueError: no")


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """Give the root logger, and put it back as it was."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    root.handlers.clear()
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(("form", "formatter"), [("text", TextFormatter), ("json", JsonFormatter)])
def test_set_up(root: logging.Logger, form: str, formatter: type[logging.Formatter]) -> None:
    """The root logger writes in the form and from the level that were asked for."""
    set_up_logging("warning", form)
    assert root.level == logging.WARNING
    assert [type(handler.formatter) for handler in root.handlers] == [formatter]


def test_unknown_level_is_refused(root: logging.Logger) -> None:
    """It is refused with the levels there are."""
    with pytest.raises(UsageError, match=r"--log-level 'loud': give debug"):
        set_up_logging("loud", "text")
