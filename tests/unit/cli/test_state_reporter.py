"""The reports of a supervised worker to its supervisor."""

from __future__ import annotations

import itertools
from typing import cast

import pytest

from aiostreamq import Queue, Worker, WorkerState
from aiostreamq.cli.process.recycling import RecyclingLimits
from aiostreamq.cli.process.state_reporter import StateReporter
from aiostreamq.cli.process.supervisor_link import SupervisorLink


class FakeLink:
    """Keeps the events that a worker sends."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def send(self, event: str, _: str = "") -> None:
        """Keep an event."""
        self.events.append(event)


class Passing(Worker):
    """A worker that was in *states*, one at each look."""

    def __init__(self, *states: WorkerState) -> None:
        super().__init__(Queue("memory://"))
        self._states = iter(states)

    @property
    def state(self) -> WorkerState:
        """The next of its states."""
        return next(self._states)


@pytest.mark.parametrize("length", range(4))
def test_ready_is_reported_once(length: int) -> None:
    """Whatever states were seen: the supervisor starts the other workers with this report."""
    for states in itertools.permutations(set(WorkerState) - {WorkerState.STUCK}, length):
        link = FakeLink()
        reporter = StateReporter(
            Passing(*states),
            RecyclingLimits(None, None),
            cast("SupervisorLink", link),
            "the first lines",
        )
        for _ in states:
            reporter.look()
        reporter.report_ready()
        assert link.events.count("ready") == 1, states
