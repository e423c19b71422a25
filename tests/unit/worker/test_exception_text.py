"""How the exception of a task is described to others."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest

import aiostreamq
from aiostreamq.model.job_state import JobState
from aiostreamq.model.outcome import decode_outcome, encode_ended
from aiostreamq.untrusted import name_of
from aiostreamq.worker.run.exception_text import LONGEST_MESSAGE, LONGEST_TRACEBACK, clean, describe
from tests.hostile.exceptions import EXCEPTIONS, raising
from tests.support.case_ids import short


class Refused(Exception):
    """An exception of the user's."""


class Broken(Exception):
    """An exception that can not even say what it is."""

    def __str__(self) -> str:
        raise ZeroDivisionError


def caught(error: BaseException) -> BaseException:
    """Raise *error* from a function, as a task would."""

    def deep_inside() -> None:
        raise error

    with pytest.raises(type(error)) as info:
        deep_inside()
    return info.value


def test_names() -> None:
    """A built-in is told by its bare name, others with their module."""
    assert describe(caught(ValueError("no"))).type == "ValueError"
    assert describe(caught(Refused("no"))).type == f"{__name__}.Refused"


def test_traceback() -> None:
    """It reads as Python's own, down to the line that raised."""
    told = describe(caught(ValueError("no"))).traceback
    assert told.startswith("Traceback (most recent call last):\n")
    assert "deep_inside" in told
    assert told.endswith("ValueError: no\n")


def test_frames_of_the_package() -> None:
    """They are left out: they are nobody's business but ours."""
    ours: dict[str, Callable[[], object]] = {}
    inside = Path(aiostreamq.__file__).parent / "worker" / "some_module.py"
    exec(compile("def call():\n    return task()", inside, "exec"), ours)

    def task() -> None:
        raise ValueError("no")

    ours["task"] = task
    with pytest.raises(ValueError, match="no") as info:
        ours["call"]()
    error = info.value
    assert error.__traceback__ is not None
    told = describe(error.with_traceback(error.__traceback__.tb_next)).traceback
    assert "some_module.py" not in told
    assert __file__ in told
    assert "in task" in told


def test_frames_of_a_thread() -> None:
    """Those of the pool that called the task are left out too."""

    def task() -> None:
        raise ValueError("no")

    with ThreadPoolExecutor(1) as threads:
        error = threads.submit(task).exception()
    assert error is not None
    first = describe(error).traceback.splitlines()[1]
    assert __file__ in first
    assert first.endswith("in task")


def test_cause() -> None:
    """What led to the exception is told too."""
    error = caught(ValueError("no"))
    error.__cause__ = caught(KeyError("reason"))
    assert "KeyError: 'reason'" in describe(error).traceback
    assert "direct cause" in describe(error).traceback


def test_long_ones() -> None:
    """Message and traceback are cut to what somebody reads; the end of the traceback stays."""
    failure = describe(caught(ValueError("x" * 1_000_000 + "the end")))
    assert len(failure.message) == LONGEST_MESSAGE
    assert len(failure.traceback) == LONGEST_TRACEBACK
    assert failure.traceback.endswith("the end\n")


@pytest.mark.parametrize(
    "error",
    [
        Broken(),
        ValueError("file \udcff.txt"),
        ValueError("\ud800"),
        OSError(2, "No such file", "\udcfc.txt"),
        ValueError("\x00\x1b[31m"),
        ExceptionGroup("several", [ValueError("\udcff"), KeyError()]),
        SystemExit(3),
        KeyError(),
    ],
    ids=short,
)
def test_every_exception_can_be_encoded(error: BaseException) -> None:
    """Whatever it says of itself, it arrives: else its job would never end."""
    raw = encode_ended("t", 1, JobState.FAILED, describe(caught(error)))
    assert orjson.loads(raw)["state"] == "failed"
    assert decode_outcome(raw).failure is not None


@pytest.mark.parametrize("name", EXCEPTIONS)  # some of the values pytest cannot look at
def test_hostile_exceptions(name: str) -> None:
    """Whatever its class does, it can be told, with the name of its class and where it was."""
    try:
        raise EXCEPTIONS[name]()  # noqa: RSE102  # some are functions
    except BaseException as raised:  # noqa: BLE001  # some are none
        error = raised
    failure = describe(error)
    raw = encode_ended("t", 1, JobState.FAILED, failure)
    assert decode_outcome(raw).failure == failure
    assert len(raw) < 2 * (LONGEST_MESSAGE + LONGEST_TRACEBACK)
    assert failure.type == clean(name_of(type(error)))
    assert "test_hostile_exceptions" in failure.traceback or len(failure.traceback) > 5000


def test_ordinary_exceptions() -> None:
    """What `traceback` can do with one is done: notes, members, and the place of a mistake."""
    error = ExceptionGroup("several", [ValueError("one"), compiled("1 +")])
    error.add_note("a note")
    told = describe(caught(error)).traceback
    assert "a note" in told
    assert "+---------------- 2" in told
    assert "    1 +\n" in told


def compiled(source: str) -> SyntaxError:
    """Return what Python raises about *source*."""
    with pytest.raises(SyntaxError) as info:
        compile(source, "a file", "exec")
    return info.value


def test_interrupts_stop_nothing() -> None:
    """Also where a Ctrl-C would raise: what an exception raises is not one."""
    error = raising("__str__", KeyboardInterrupt)()
    assert describe(error).message.endswith("raised KeyboardInterrupt>")
