"""The end of a scenario: it gets quiet, the workers leave, and what must be so is looked at."""

from collections.abc import Collection, Iterable, Mapping

from redis.asyncio import Redis

from tests.chaos import invariants
from tests.chaos.app import Run
from tests.chaos.fleet import Fault, Fleet
from tests.chaos.ledger import Book, Ledger
from tests.chaos.report import Line, Report


class Ending:
    """What all scenarios do at their end: `wind_up`, `report` and `check`, in this order.

    Args:
        client: Looks into Redis.
        fleet: The workers that are left.
        ledger: What they have written.
        report: Where the scenario's line goes.
    """

    def __init__(self, client: Redis, fleet: Fleet, ledger: Ledger, report: Report) -> None:
        self._client = client
        self._fleet = fleet
        self._ledger = ledger
        self._report = report
        self._workers = 0
        self._codes: list[int] = []

    async def wind_up(self, workers: int) -> Book:
        """Have all workers leave once nothing is left to do; returns what was written.

        Args:
            workers: How many there must be then.
        """
        await invariants.wait_quiet(self._client, workers)
        self._workers, self._codes = workers, await self._fleet.dismiss()
        return self._ledger.book()

    def report(
        self,
        name: str,
        scenario: str,
        accepted: Collection[str],
        faults: str,
        *,
        given_up: Collection[str] = (),
        recovery: float | None = None,
        figures: Mapping[str, str] | None = None,
    ) -> Line:
        """Add the scenario's line, before anything is asserted about it; returns it.

        Args:
            name: As in Line, and so are the others but these:
            scenario: For people.
            accepted: The jobs.
            faults: How many of what.
            given_up: Those that did not get to an end and were not lost either.
            recovery: In seconds.
            figures: The others.
        """
        book = self._ledger.book()
        line = Line(
            name,
            scenario,
            len(accepted),
            faults,
            lost=len(book.lost(accepted, given_up)),
            duplicates=book.ended_again,
            recovery=recovery,
            figures=dict(figures or {}),
        )
        self._report.add(line)
        return line

    def may_run_again(self, faults: Iterable[Fault], slots: int) -> int:
        """Return how many runs the faults account for that were not the first of their job.

        A machine that holds a worker up for a lease does what is a fault of its own: whatever
        ran in its *slots*, or was about to, runs elsewhere then.
        """
        mistaken = 2 * slots * self._fleet.taken_for_dead
        return len(self._ledger.book().hit(faults)) + mistaken

    async def check(self, accepted: Collection[str], told: Mapping[str, Run] | None = None) -> None:
        """Fail if a worker ended badly, anything is left or missing, or clients were misled.

        Args:
            accepted: The jobs that must have an outcome.
            told: What clients were told of them, by job.
        """
        assert self._codes == [0] * self._workers
        await invariants.check_answers(self._client, told or {})
        await invariants.check(self._client, accepted)
