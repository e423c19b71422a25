"""What to do about an error from Redis: the one classifier.

docs/reference/redis-errors.md tells users what comes of it, error by error.
"""

from enum import Enum, auto

from aiostreamq.store.link import CommandError, LinkLost


class Remedy(Enum):
    """What may help."""

    AGAIN = auto()  #: the same call, a little later
    REPAIR = auto()  #: streams or groups are gone: make them, then again
    PUSH_BACK = auto()  #: Redis is full: tell the producer
    NONE = auto()  #: it will not get better by itself


REMEDIES = {
    "LOADING": Remedy.AGAIN,
    "BUSY": Remedy.AGAIN,
    "TRYAGAIN": Remedy.AGAIN,
    "CLUSTERDOWN": Remedy.AGAIN,
    "MASTERDOWN": Remedy.AGAIN,
    "READONLY": Remedy.AGAIN,
    "NOREPLICAS": Remedy.AGAIN,
    "MISCONF": Remedy.AGAIN,
    "UNBLOCKED": Remedy.AGAIN,
    # Loaded and gone again before it ran: somebody flushes scripts.
    "NOSCRIPT": Remedy.AGAIN,
    "NOGROUP": Remedy.REPAIR,
    "OOM": Remedy.PUSH_BACK,
}

# These mean that another server is in charge now: the link leads to the wrong one.
_ELSEWHERE = frozenset({"READONLY", "MASTERDOWN", "UNBLOCKED"})

# Errors without a code of their own, by what they say.
ON_A_REPLICA = "cannot be used with replica instances"
TOO_MANY_CLIENTS = "max number of clients reached"
# What is said inside of scripts instead of NOPERM, by Redis up to 7.0 and by newer ones.
NO_RIGHT_IN_SCRIPT = ("The user executing the script can't", "ACL failure in script")

# Whose business it is, where trying again is no use. Redis's own words follow.
ADVICE = {
    "OOM": "Redis is full (maxmemory), so it takes no new jobs until workers have ended some: "
    "try later, or give it more memory",
    "WRONGTYPE": "another program has written to a key of this queue",
    "NOPERM": "the Redis user may not do what aiostreamq needs: allow it the queue's keys and "
    "all commands on them",
    "NOAUTH": "Redis wants a password: put it in the URL",
    "WRONGPASS": "Redis refused the user name or password",
}


def remedy_for(error: Exception) -> Remedy:
    """Return what may help against *error*."""
    if isinstance(error, LinkLost):
        return Remedy.AGAIN
    if isinstance(error, CommandError):
        told = str(error)
        if ON_A_REPLICA in told or TOO_MANY_CLIENTS in told:
            return Remedy.AGAIN
        return next((REMEDIES[w] for w in _words(error) if w in REMEDIES), Remedy.NONE)
    return Remedy.NONE


def is_elsewhere(error: Exception) -> bool:
    """Whether the link should be opened anew before the next try."""
    told = str(error)
    if ON_A_REPLICA in told or TOO_MANY_CLIENTS in told:
        return True
    return any(word in _ELSEWHERE for word in _words(error))


def with_advice(error: Exception) -> Exception:
    """Return *error* as callers shall see it: whose business it is, and Redis's own words."""
    if not isinstance(error, CommandError):
        return error
    if any(words in str(error) for words in NO_RIGHT_IN_SCRIPT):
        advice = ADVICE["NOPERM"]
    else:
        advice = next((ADVICE[word] for word in _words(error) if word in ADVICE), None)
    return error if advice is None else CommandError(f"{advice} ({error})")


def _words(error: Exception) -> list[str]:
    # For an error inside a script Redis puts a dozen words of its own before the code.
    return [word.lstrip("-") for word in str(error).replace(":", " ").split()[:20]]
