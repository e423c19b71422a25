"""The batchers of one session: jobs that travel together are confirmed, or have keys, alike."""

from typing import TYPE_CHECKING

from aiostreamq.client.enqueue_batcher import EnqueueBatcher

if TYPE_CHECKING:
    from aiostreamq.model.options import Durability, Options, QueuePolicy
    from aiostreamq.store.durability import ConfirmedRunner
    from aiostreamq.store.queue import QueueStore


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
        self._by_kind: dict[tuple[Durability, bool], EnqueueBatcher] = {}
        #: for jobs without keys, of the queue's durability
        self.plain = self._of(policy.durability, has_key=False)

    def of(self, options: "Options") -> EnqueueBatcher:
        """Return the batcher for jobs of the durability in *options*, with or without keys."""
        durability = options.durability or self._policy.durability
        return self._of(durability, has_key=options.unique is not None)

    def _of(self, durability: "Durability", *, has_key: bool) -> EnqueueBatcher:
        batcher = self._by_kind.get((durability, has_key))
        if batcher is None:
            make = EnqueueBatcher
            if has_key:
                # Imported at the first use: most programs have no such jobs.
                from aiostreamq.client.unique_batcher import UniqueBatcher

                make = UniqueBatcher
            confirmed = None if durability == "memory" else _runner(self._store, durability)
            batcher = make(self._store, self._inbox, self._policy, confirmed)
            self._by_kind[durability, has_key] = batcher
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
