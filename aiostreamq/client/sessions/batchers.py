"""The batchers of one session: jobs that travel together are confirmed, or have keys, alike."""

from typing import TYPE_CHECKING, Literal

from aiostreamq.client.enqueue_batcher import EnqueueBatcher

if TYPE_CHECKING:
    from aiostreamq.model.options import Durability, Options, QueuePolicy
    from aiostreamq.store.durability import ConfirmedRunner
    from aiostreamq.store.queue import QueueStore


#: The way into Redis: to a lane, to the holder of its key, or to the backlog of its limits, there
#: with several commands under way, or with one after the other.
Kind = Literal["plain", "unique", "held", "ordered"]


def kind_of(options: "Options") -> Kind:
    """Return the way of a job that is not delayed, by its options."""
    # A job that has both gets its key first; its worker sends it to its backlog.
    if options.unique is not None:
        return "unique"
    if not options.limits:
        return "plain"
    return "ordered" if options.limits[0].kind == "o" else "held"


class Batchers:
    """The batchers, made when a job needs them."""

    def __init__(self, store: "QueueStore", inbox: str, policy: "QueuePolicy") -> None:
        """Make the batcher of plain jobs.

        Args:
            store: The queue.
            inbox: The inbox of this process, which hears of the ends of jobs.
            policy: The limits of the queue, and its durability.
        """
        self._store = store
        self._inbox = inbox
        self._policy = policy
        self._by_kind: dict[tuple[Durability, Kind], EnqueueBatcher] = {}
        #: for jobs without keys and limits, of the queue's durability
        self.plain = self._of(policy.durability, "plain")

    def of(self, options: "Options") -> EnqueueBatcher:
        """Return the batcher for jobs of the durability in *options*, with their keys or limits."""
        durability = options.durability or self._policy.durability
        return self._of(durability, kind_of(options))

    def _of(self, durability: "Durability", kind: Kind) -> EnqueueBatcher:
        batcher = self._by_kind.get((durability, kind))
        if batcher is None:
            # Imported at the first use: most programs have no such jobs.
            make = EnqueueBatcher
            if kind == "unique":
                from aiostreamq.client.unique_batcher import UniqueBatcher

                make = UniqueBatcher
            elif kind == "held":
                from aiostreamq.client.held_batcher import HeldBatcher

                make = HeldBatcher
            elif kind == "ordered":
                from aiostreamq.client.held_batcher import OrderedBatcher

                make = OrderedBatcher
            confirmed = None if durability == "memory" else _runner(self._store, durability)
            batcher = make(self._store, self._inbox, self._policy, confirmed)
            self._by_kind[durability, kind] = batcher
        return batcher

    async def open(self) -> None:
        """Connect for the durability of the queue, if that needs a connection of its own."""
        if (confirmed := self.plain.confirmed) is not None:
            await confirmed.open()

    async def join(self) -> None:
        """Wait until all that was enqueued so far has been sent. Cancelling is safe."""
        for batcher in list(self._by_kind.values()):
            await batcher.join()

    def close(self, *, is_loop_gone: bool = False) -> None:
        """Close the connections that confirm jobs."""
        for batcher in self._by_kind.values():
            if batcher.confirmed is not None:
                batcher.confirmed.close(is_loop_gone=is_loop_gone)


def _runner(store: "QueueStore", durability: "Durability") -> "ConfirmedRunner":
    # Imported at the first use: most programs need no confirmation.
    from aiostreamq.store.durability import ConfirmedRunner

    return ConfirmedRunner(store, durability)
