"""Reading jobs that other workers have parked."""

import pytest

from aiostreamq.model.delivery import Wanted
from aiostreamq.worker.reroute.overflow_source import Overflow


class Parked:
    """An overflow that is about parked jobs alone."""

    def __init__(self, *tasks: str) -> None:
        self.woken = 0
        self.tasks = set(tasks)
        self.overflow = Overflow({}, {}, lambda: 0, self._wake, self.tasks.__contains__)

    def _wake(self) -> None:
        self.woken += 1

    def hear(self, tasks: str) -> None:
        """Take a message."""
        self.overflow.handlers()["parked"]({"say": "parked", "tasks": tasks})

    def wanted(self) -> Wanted:
        """Return what is to be read; there must be something."""
        wanted = self.overflow.wanted()
        assert wanted is not None
        return wanted


@pytest.fixture
def parked() -> Parked:
    """A worker that may run two tasks."""
    return Parked("a", "b")


@pytest.mark.parametrize("tasks", ["", "other", "x y z"])
def test_other_tasks(parked: Parked, tasks: str) -> None:
    """A message about tasks that are unknown or paused here wakes nothing."""
    parked.hear(tasks)
    parked.overflow.handlers()["parked"]({"say": "parked"})
    assert (parked.overflow.wanted(), parked.woken) == (None, 0)


def test_known_tasks(parked: Parked) -> None:
    """Those that may run here are wanted until a read has brought less than was asked for."""
    parked.hear("a other")
    parked.hear("b")
    assert parked.woken == 2
    wanted = parked.wanted()
    assert (wanted.place, set(wanted.tasks)) == (None, {"a", "b"})
    parked.overflow.note(wanted, asked=5, found=5)
    wanted = parked.wanted()
    parked.overflow.note(wanted, asked=5, found=4)
    assert parked.overflow.wanted() is None


def test_message_during_a_read(parked: Parked) -> None:
    """Jobs that were parked during a read are looked for once more."""
    parked.hear("a b")
    wanted = parked.wanted()
    parked.hear("b")
    parked.overflow.note(wanted, asked=5, found=0)
    assert parked.wanted().tasks == ("b",)
