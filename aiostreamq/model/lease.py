"""The beats of workers, as other workers read them."""

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
