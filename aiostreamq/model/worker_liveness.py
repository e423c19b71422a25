"""The beats of workers, as other workers read them."""

from collections.abc import Mapping

# recover_worker.lua puts it before the lanes of a worker until all its jobs are recovered.
DEAD = "dead"

# The version of what workers do with Redis, in the description that comes with their beats. A
# later release raises it with each step that older workers could not take part in.
PROTOCOL = 1


def is_dead(beat: str) -> bool:
    """Whether the recovery of a worker with this beat has begun.

    >>> is_dead("dead high low"), is_dead("7 15000 high low")
    (True, False)
    """
    return beat.partition(" ")[0] == DEAD


def lanes_of(beat: str) -> list[str]:
    """Return the lanes that a beat contains.

    >>> lanes_of("7 15000 high low"), lanes_of("dead high low"), lanes_of("7 15000")
    (['high', 'low'], ['high', 'low'], [])
    """
    return beat.split()[1 if is_dead(beat) else 2 :]


class SilentHolders:
    """The workers that hold deliveries and may be dead, as one watcher sees them.

    Args:
        longest: Seconds after which the watcher waits no longer.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._began: float | None = None
        self._first: dict[str, str] = {}  # the first beat that was seen of each

    def forget(self) -> None:
        """Begin a new wait."""
        self._began = None
        self._first.clear()

    def may_return(self, holders: Mapping[str, str], now: float) -> bool:
        """Return whether the jobs of one of *holders* may still come back.

        That ends when it has beaten since it was first seen here, and *longest* seconds after
        the wait began.

        Args:
            holders: The names and beats of the workers that hold deliveries.
            now: Seconds of a monotonic clock.
        """
        if self._began is None:
            self._began = now
        silent = [
            name
            for name, beat in holders.items()
            if self._first.setdefault(name, beat) == beat or is_dead(beat)
        ]
        return bool(silent) and now - self._began < self._longest
