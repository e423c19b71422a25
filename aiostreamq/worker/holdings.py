"""All that one worker has been sent and Redis does not know to be over."""

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiostreamq.model.delivery import EntryRef
    from aiostreamq.worker.reroute.backlogs import Backlogs
    from aiostreamq.worker.reroute.parking import Parking
    from aiostreamq.worker.reroute.rerouter import Rerouter
    from aiostreamq.worker.run.dispatcher import Dispatcher
    from aiostreamq.worker.settle.settler import Settler


class Holdings:
    """The deliveries of one worker, wherever in it they are."""

    def __init__(
        self,
        dispatcher: "Dispatcher",
        settler: "Settler",
        rerouter: "Rerouter",
        parking: "Parking",
        backlogs: "Backlogs",
    ) -> None:
        self._dispatcher = dispatcher
        self._settler = settler
        self._rerouter = rerouter
        self._parking = parking
        self._backlogs = backlogs

    def keys(self) -> "set[EntryRef]":
        """Return the deliveries that are known here, each as (number of its stream, entry)."""
        keys = set(self._dispatcher.running)
        keys.update((delivery.stream, delivery.entry) for delivery in self._dispatcher.backlog)
        return keys | self._settler.unsettled | self._rerouter.entries

    def not_running(self, most: int) -> "tuple[list[str], int]":
        """Return the ids of up to *most* jobs that wait here to start, and how many do not run.

        That number includes jobs whose end Redis refuses. May be called from any thread.
        """
        backlog = self._dispatcher.backlog
        try:
            listed = list(islice(backlog, most))
        except RuntimeError:  # a job has come or started that very moment
            return [], 1
        return [delivery.job_id for delivery in listed], len(backlog) + self.refused

    @property
    def refused(self) -> int:
        """How many have ended here while Redis refuses to take their end."""
        return self._settler.refused + self._parking.refused + self._backlogs.refused

    async def join(self) -> None:
        """Wait until Redis knows of all that has ended here or was moved away."""
        await self._settler.join()
        await self._rerouter.join()
