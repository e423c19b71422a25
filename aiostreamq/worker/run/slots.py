"""The slots of a worker, and the runs that lend theirs: they wait for other jobs of the queue.

Parents that await their children would hold all slots, and no child could ever start. So a run
that awaits a job of its own queue lends its slot, and its thread or process, until the job ends.
No more than `concurrency` slots are lent.

A lent slot is for children. Jobs of tasks that are known to await others are set aside as long as
only lent slots are free, or parents would take those too. If nothing moves, because the children
are parents themselves, they get one after the other; the last one only when nothing has moved for
long.

"For long" is a guess: the children may still be on their way, behind a thousand parents, from a
slow Redis, or after a pause before another attempt. So if all slots wait, the lent ones among them,
there is one more, which jobs of such tasks never get. A child that awaits nothing can always start.
"""

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from aiostreamq.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiostreamq.model.delivery import EntryRef
    from aiostreamq.model.task import Place
    from aiostreamq.worker.run.pool import Pool
    from aiostreamq.worker.run.run import Run

logger = get_logger("aiostreamq.worker")

# Seconds in which all runs have awaited other jobs, and nothing else has started: until parents
# may have lent slots, and from then on until they may have the last one too.
STANDSTILLS = (0.05, 0.5)


class Slots:
    """How many jobs may run at once.

    Its attributes are five settings, the capacity, the runs that wait, and how long nothing has
    moved.
    """

    def __init__(
        self,
        concurrency: int,
        queue: str,
        running: "Mapping[EntryRef, Run]",
        pools: "Mapping[Place, Pool]",
        freed: "Callable[[], None]",
        moved: "Callable[[], None]",
    ) -> None:
        """Describe the slots.

        Args:
            concurrency: How many there are.
            queue: Its name: runs lend their slots while they await a job of it.
            running: The runs that have a slot, by their keys.
            pools: Their places are lent like slots.
            freed: Called if more jobs may start.
            moved: Called if those may that await others.
        """
        self.concurrency = concurrency
        self.queue = queue  #: its name
        self.capacity = concurrency  #: how many may run now
        self._width = concurrency  # how many may run, with lent slots left out
        self.parents: set[str] = set()  #: tasks whose runs have awaited others; while any does
        self._running = running
        self._pools = pools.values()
        self._freed = freed
        self._moved = moved
        self._waits: Counter[EntryRef] = Counter()  # how many jobs each run awaits
        self._is_reported = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._still = 0  # as `Pool.still`

    def narrow(self, width: int) -> None:
        """Let *width* jobs run at once, and as many more as there are slots lent."""
        before, self._width = self.capacity, width
        self._set_capacity()
        if self.capacity > before:
            self._freed()

    def _set_capacity(self) -> None:
        waiting = len(self._waits)
        # If all that run wait for others, those must be able to start.
        all_wait = waiting > 0 and waiting >= self._width
        width = self.concurrency if all_wait else self._width
        beyond = waiting >= 2 * self.concurrency  # the slot that only children get
        self.capacity = width + min(waiting, self.concurrency) + beyond

    def lend(self, key: "EntryRef") -> None:
        """A run begins to await a job of its queue."""
        run = self._running.get(key)
        if run is None:
            return  # it is over, and has left a task behind
        self._waits[key] += 1
        if self._waits[key] == 1:
            self.parents.add(run.spec.name)
            if run.pool is not None:
                run.pool.lent += 1
            self._count()
            self._report()
            self._freed()

    def take_back(self, key: "EntryRef") -> None:
        """A run awaits one job less; it runs on at once, even if its slot is taken."""
        run = self._running.get(key)
        if run is None or key not in self._waits:
            return
        self._waits[key] -= 1
        if not self._waits[key]:
            self.forget(key, run)

    def forget(self, key: "EntryRef", run: "Run") -> None:
        """A run awaits nothing any more, as it may be over."""
        if self._waits.pop(key, None) is not None:
            if run.pool is not None:
                run.pool.lent -= 1
            self._count()
        self._watch()
        self._moved()

    @property
    def parent_room(self) -> int:
        """How many jobs may start that await others."""
        return max(self.concurrency - len(self._running), int(self.takes_parents))

    @property
    def takes_parents(self) -> bool:
        """Whether a job may start that is known to await others."""
        running = len(self._running)
        if running >= 2 * self.concurrency:
            return False  # the slot beyond is for children
        is_last = running == 2 * self.concurrency - 1
        return running < self.concurrency or self._still > is_last

    def take_parents_in(self, pool: "Pool | None") -> bool:
        """Whether such a job may start that needs a place of *pool*, None for the event loop."""
        return self.takes_parents and (pool is None or pool.takes_parents)

    def is_kept_from(self, task: str, pool: "Pool | None") -> bool:
        """Whether a job of *task*, which is about to start, is not to."""
        if task not in self.parents:
            return False
        if not self.take_parents_in(pool):
            return True
        self._still = 0
        if pool is not None:
            pool.still = 0
        return False

    def _count(self) -> None:
        self._set_capacity()
        self._still = 0
        for pool in self._pools:
            pool.still = 0
        if not self._waits:
            self._is_reported = False
        self._watch()

    def _watch(self) -> None:
        if self._timer is None and self._is_still():
            stage = max([self._still, *(pool.still for pool in self._pools)])
            if stage < len(STANDSTILLS):
                self._timer = self._loop.call_later(STANDSTILLS[stage], self._look)

    def _look(self) -> None:
        self._timer = None
        self._still = self._still + 1 if self._do_all_wait() else 0
        for pool in self._pools:
            pool.still = pool.still + 1 if pool.do_all_wait else 0
        if self._is_still():
            self._freed()
            self._moved()
            self._watch()

    def _is_still(self) -> bool:
        return self._do_all_wait() or any(pool.do_all_wait for pool in self._pools)

    def _do_all_wait(self) -> bool:
        return len(self._waits) >= len(self._running) >= self.concurrency

    def _report(self) -> None:
        waiting = len(self._waits)
        most = 2 * self.concurrency + 1
        if waiting >= most:
            logger.error(
                "%d of %d slots wait for jobs of this queue, the lent ones among them: nothing can "
                "start until one of those jobs ends elsewhere; raise concurrency, or return the "
                "ids of jobs instead of awaiting them",
                waiting,
                most,
            )
        elif waiting >= self.concurrency and not self._is_reported:
            self._is_reported = True
            logger.warning(
                "%d of %d slots wait for jobs of this queue: they are lent to other jobs until "
                "those end; raise concurrency if this happens often",
                waiting,
                self.concurrency,
            )
