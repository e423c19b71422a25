"""What to do about an error from Redis: the one classifier.

docs/reference/redis-errors.md tells users what comes of it, error by error.
"""

import re
from enum import Enum, auto

from aiostreamq.store.connection.link import CommandError, LinkLost


class Remedy(Enum):
    """What may help."""

    AGAIN = auto()  #: the same call, a little later
    REPAIR = auto()  #: streams or groups are gone: make them, then again
    PUSH_BACK = auto()  #: Redis is full: tell the producer
    NONE = auto()  #: it will not get better by itself


REMEDIES = {
    "LOADING": Remedy.AGAIN,
    "BUSY": Remedy.AGAIN,
    "MOVED": Remedy.AGAIN,
    # Not followed to where it leads: half of the queue may still be here (decision 0010).
    "ASK": Remedy.AGAIN,
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
_ELSEWHERE = frozenset({"READONLY", "MASTERDOWN", "UNBLOCKED", "MOVED"})

# Errors without a code of their own, by what they say.
ON_A_REPLICA = "cannot be used with replica instances"
TOO_MANY_CLIENTS = "max number of clients reached"
# What is said inside of scripts instead of ASK and TRYAGAIN, by all servers and by Redis 8 and
# Valkey 8 to which a slot moves; and instead of CLUSTERDOWN, if reads are allowed then.
SLOT_MOVES_IN_SCRIPT = ("attempted to access a non local key", "during rehashing of the slot")
DOWN_IN_SCRIPT = "while the cluster is down"
# What is said inside of scripts instead of NOPERM, by Redis up to 7.0 and by newer ones.
NO_RIGHT_IN_SCRIPT = ("The user executing the script can't", "ACL failure in script")

_AGAIN = (ON_A_REPLICA, TOO_MANY_CLIENTS, *SLOT_MOVES_IN_SCRIPT, DOWN_IN_SCRIPT)

_SLOT_MOVES = (
    "the cluster is moving this queue to another node, and the queue waits until that is done"
)

# What it means for the queue, and whose business it is. Redis's own words follow.
ADVICE = {
    "MOVED": "the cluster has this queue on another node",
    "ASK": _SLOT_MOVES,
    "TRYAGAIN": _SLOT_MOVES,
    "OOM": "Redis is full (maxmemory), so it takes no new jobs until workers have ended some: "
    "try later, or give it more memory",
    "WRONGTYPE": "another program has written to a key of this queue",
    "NOAUTH": "Redis wants a password: put it in the URL",
    "WRONGPASS": "Redis refused the user name or password",
}

# How Redis names the command that a user may not run; up to 7.0 not inside of scripts.
_COMMAND = re.compile(r"to run the '([\w|]+)' command")
_NOPERM = re.compile(r"\bNOPERM\b")
_UNKNOWN_COMMAND = "unknown command"
_KEYS = re.compile(r"access (one of|at least one of|a) ?(the )?keys?")

# What producers, workers and readers need is listed there; a test holds it to the code.
RULES = "docs/how-to/redis-users.md"


def remedy_for(error: Exception) -> Remedy:
    """Return what may help against *error*."""
    if isinstance(error, LinkLost):
        return Remedy.AGAIN
    if isinstance(error, CommandError):
        told = str(error)
        if any(words in told for words in _AGAIN):
            return Remedy.AGAIN
        return next((REMEDIES[w] for w in _words(error) if w in REMEDIES), Remedy.NONE)
    return Remedy.NONE


def is_elsewhere(error: Exception) -> bool:
    """Whether the link should be opened anew before the next try."""
    told = str(error)
    if ON_A_REPLICA in told or TOO_MANY_CLIENTS in told:
        return True
    return any(word in _ELSEWHERE for word in _words(error))


def moved_to(error: Exception) -> tuple[str, int] | None:
    """Where a cluster says that the queue is: host and port, if *error* says so.

    The host is empty if it is the one that was asked.
    """
    code, _, told = str(error).partition(" ")
    if code != "MOVED":
        return None
    host, _, port = told.partition(" ")[2].rpartition(":")
    # A node that is to be called by a name, and has none, is called "?".
    return (host, int(port)) if host != "?" and port.isdecimal() else None


def with_advice(error: Exception) -> Exception:
    """Return *error* as callers shall see it: whose business it is, and Redis's own words."""
    if not isinstance(error, CommandError):
        return error
    if is_forbidden(error):
        advice = _advice_on_right(error)
    elif any(words in str(error) for words in SLOT_MOVES_IN_SCRIPT):
        advice = _SLOT_MOVES
    else:
        advice = next((ADVICE[word] for word in _words(error) if word in ADVICE), None)
    return error if advice is None else CommandError(f"{advice} ({error})")


def is_forbidden(error: Exception) -> bool:
    """Whether the Redis user lacks a right."""
    if not isinstance(error, CommandError):
        return False
    told = str(error)
    return bool(_NOPERM.search(told)) or any(words in told for words in NO_RIGHT_IN_SCRIPT)


def is_withheld(error: Exception) -> bool:
    """Whether the Redis user lacks a right, or the server has no such command: some hosts'."""
    return is_forbidden(error) or _UNKNOWN_COMMAND in str(error)


def right_missing(error: Exception) -> str:
    """Return what to grant to the Redis user, where that is what *error* is about."""
    told = str(error)
    if command := _COMMAND.search(told):
        return f"+{command[1]}"
    return "~aiostreamq:*" if _KEYS.search(told) else "the command that ACL LOG names"


def _advice_on_right(error: Exception) -> str:
    return (
        f"the Redis user may not do what aiostreamq needs: grant it {right_missing(error)} "
        f"(all rights: {RULES})"
    )


def _words(error: Exception) -> list[str]:
    # For an error inside a script Redis puts a dozen words of its own before the code.
    return [word.lstrip("-") for word in str(error).replace(":", " ").split()[:20]]
