"""Log records hold the right fields, and logging never raises."""

import io
import logging
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest

from aiostreamq.logs import get_logger

NAME = "aiostreamq.test"


class Kept(logging.Handler):
    """Keeps the records that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.records.append(record)


class Raising(logging.Handler):
    """Raises instead."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        """Raise."""
        raise self.error


class Nameless(type):
    """A metaclass whose classes do not tell their names."""

    def __getattribute__(cls, name: str) -> object:
        if name in {"__qualname__", "__module__", "__name__"}:
            raise LookupError(name)
        return super().__getattribute__(name)


class Unnamed(Exception, metaclass=Nameless):
    """An exception of such a class."""


ERRORS = [ValueError("no"), KeyboardInterrupt(), SystemExit(3), GeneratorExit(), Unnamed()]


@pytest.fixture
def kept() -> Iterator[Kept]:
    """What was logged."""
    handler, logger = Kept(), logging.getLogger(NAME)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)


@contextmanager
def record_factory(**fields: object) -> Generator[None]:
    """Have all records get *fields*."""
    plain = logging.getLogRecordFactory()

    def factory(*args: object, **kwargs: object) -> logging.LogRecord:
        record = plain(*args, **kwargs)
        vars(record).update(fields)
        return record

    logging.setLogRecordFactory(factory)
    try:
        yield
    finally:
        logging.setLogRecordFactory(plain)


def test_record(kept: Kept) -> None:
    """It is what `logging` would have made, with the fields."""
    log = get_logger(NAME)
    log.warning("%d of %s", 3, "these", extra={"job_id": "a", "task": "t"})
    [record] = kept.records
    assert record.getMessage() == "3 of these"
    assert (record.levelname, record.name) == ("WARNING", NAME)
    assert record.__dict__["job_id"] == "a"
    assert (record.pathname, record.funcName) == (__file__, "test_record")


def test_levels(kept: Kept) -> None:
    """Each method says its own, and nothing below the logger's level."""
    log = get_logger(NAME)
    logging.getLogger(NAME).setLevel(logging.INFO)
    for say in (log.debug, log.info, log.warning, log.error, log.exception, log.critical):
        say("x")
    assert [record.levelname for record in kept.records] == [
        "INFO", "WARNING", "ERROR", "ERROR", "CRITICAL"
    ]  # fmt: skip


def test_exceptions(kept: Kept) -> None:
    """The one that is handled, or one that is given."""
    log, other = get_logger(NAME), KeyError("other")
    try:
        raise ValueError("no")
    except ValueError as error:
        log.exception("it")
        log.error("given", exc_info=other)  # noqa: TRY400  # not the one that is handled
        raised = error
    log.error("none")
    assert [record.exc_info and record.exc_info[1] for record in kept.records] == [
        raised, other, None
    ]  # fmt: skip


def test_fields_that_a_factory_sets(kept: Kept) -> None:
    """Ours win in records of ours: `logging` itself would raise."""
    with record_factory(job_id="request-7", task="mine", attempt=0, worker="w", message="m"):
        get_logger(NAME).info("x", extra={"job_id": "a", "task": "t", "attempt": 2, "worker": "b"})
    assert [kept.records[0].__dict__[name] for name in ("job_id", "task", "attempt", "worker")] == [
        "a", "t", 2, "b"
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(len(ERRORS)))  # pytest cannot show all of them
@pytest.mark.parametrize("where", ["factory", "filter", "handler", "argument"])
def test_logging_that_raises(number: int, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is, it stays there, and stderr is told what was not logged."""
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    # As under asyncio.run and the command line: else an interrupt may be a Ctrl-C.
    monkeypatch.setattr(signal, "default_int_handler", None)
    error = ERRORS[number]
    logger = logging.getLogger(NAME)
    logger.setLevel(logging.INFO)
    argument: object = "x"

    def fail(*_args: object, **_kwargs: object) -> bool:
        raise error

    class Text:
        def __str__(self) -> str:
            raise error

    if where == "factory":
        monkeypatch.setattr(logging, "_logRecordFactory", fail)
    elif where == "filter":
        monkeypatch.setattr(logger, "filters", [fail])
    elif where == "handler":
        monkeypatch.setattr(logger, "handlers", [Raising(error)])
    else:
        monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(said)])
        argument = Text()
    get_logger(NAME).info("this was said by %s", argument, extra={"job_id": "a"})
    assert "this was said by" in said.getvalue()


def test_stderr_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nobody is told."""
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(logging, "_logRecordFactory", None)
    get_logger(NAME).critical("x")
