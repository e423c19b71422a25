"""The names of running tasks, which may be of the user's own class."""

import asyncio
from typing import Any, cast

import pytest

from aiostreamq.aio.own_tasks import running_name


class Odd(asyncio.Task[Any]):
    """A task that answers with its name in an odd way."""

    answer: object = "odd"

    def get_name(self) -> str:
        """Return the answer, or raise it."""
        if isinstance(self.answer, BaseException):
            raise self.answer
        return cast("str", self.answer)


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("mine", "mine"),
        (None, "None"),
        (ValueError(), "a task whose name raises ValueError"),
        (KeyboardInterrupt(), "a task whose name raises KeyboardInterrupt"),
    ],
)
async def test_running_name_is_text_whatever_the_task_answers(answer: object, shown: str) -> None:
    """Threads ask for it that must not end."""
    loop = asyncio.get_running_loop()

    async def ask() -> str:
        return running_name(loop)

    task = Odd(ask(), loop=loop)
    task.answer = answer
    assert await task == shown


def test_running_name_of_a_loop_without_a_task() -> None:
    """A callback runs, or nothing."""
    loop = asyncio.new_event_loop()
    assert running_name(loop) == "a callback"
    loop.close()
