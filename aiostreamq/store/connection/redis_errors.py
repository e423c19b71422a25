"""How to handle an error of Redis: the one classifier.

docs/reference/redis-errors.md says what each error means for users.
"""

import re
from enum import Enum, auto

from aiostreamq.store.connection.link import CommandError, LinkLost


class Remedy(Enum):
    """How to handle an error."""

    AGAIN = auto()  #: the same call a little later
    REPAIR = auto()  #: streams or groups are gone: create them, then call again
    PUSH_BACK = auto()  #: Redis is full: report it to the producer
    NONE = auto()  #: it does not pass by itself


REMEDIES = {
    "LOADING": Remedy.AGAIN,
    "BUSY": Remedy.AGAIN,
    "MOVED": Remedy.AGAIN,
    # Not followed: half of the queue may still be here (decision 0010).
    "ASK": Remedy.AGAIN,
    "TRYAGAIN": Remedy.AGAIN,
    "CLUSTERDOWN": Remedy.AGAIN,
    "MASTERDOWN": Remedy.AGAIN,
    "READONLY": Remedy.AGAIN,
    "NOREPLICAS": Remedy.AGAIN,
    "MISCONF": Remedy.AGAIN,
    "UNBLOCKED": Remedy.AGAIN,
    # Loaded, and gone before it ran: another program flushes scripts.
    "NOSCRIPT": Remedy.AGAIN,
    "NOGROUP": Remedy.REPAIR,
    "OOM": Remedy.PUSH_BACK,
}

# With these, another server is in charge now, and the link leads to the wrong one.
_ELSEWHERE = frozenset({"READONLY", "MASTERDOWN", "UNBLOCKED", "MOVED"})

# Errors without a code of their own, by their message.
ON_A_REPLICA = "cannot be used with replica instances"
TOO_MANY_CLIENTS = "max number of clients reached"
# Messages inside of scripts instead of ASK and TRYAGAIN (the second by Redis 8 and Valkey 8 to
# which a slot moves), and instead of CLUSTERDOWN if reads are allowed then.
SLOT_MOVES_IN_SCRIPT = ("attempted to access a non local key", "during rehashing of the slot")
DOWN_IN_SCRIPT = "while the cluster is down"
# Messages inside of scripts instead of NOPERM, by Redis up to 7.0 and by newer ones.
NO_RIGHT_IN_SCRIPT = ("The user executing the script can't", "ACL failure in script")

# The message of UNBLOCKED if the stream was deleted under a read. Otherwise it is a replica by now.
STREAM_DELETED = "the stream key no longer exists"

# Messages for an argument that is longer than proto-max-bulk-len.
TOO_LARGE = ("Protocol error: invalid bulk length", "exceeds maximum allowed size")

_AGAIN = (ON_A_REPLICA, TOO_MANY_CLIENTS, *SLOT_MOVES_IN_SCRIPT, DOWN_IN_SCRIPT)

_SLOT_MOVES = (
    "the cluster is moving this queue to another node, and the queue waits until that is done"
)

# The meaning for the queue, and what to do. The message of Redis follows.
ADVICE = {
    "MOVED": "the cluster has this queue on another node",
    "ASK": _SLOT_MOVES,
    "TRYAGAIN": _SLOT_MOVES,
    "OOM": "Redis is full (maxmemory) and takes no new jobs until workers have finished some: "
    "try later, or give it more memory",
    "WRONGTYPE": "another program has written to a key of this queue",
    "NOAUTH": "Redis requires a password: put it in the URL",
    "WRONGPASS": "Redis refused the user name or password",
}

# The command that a user may not run; up to 7.0 Redis does not name it inside of scripts.
_COMMAND = r"to run the '([\w|]+)' command"
_NOPERM = r"\bNOPERM\b"
_UNKNOWN_COMMAND = "unknown command"
_KEYS = r"access (one of|at least one of|a) ?(the )?keys?"

# The rights of producers, workers and readers; a test compares the page with the code.
RULES = "docs/how-to/redis-users.md"


def remedy_for(error: Exception) -> Remedy:
    """Return what may help against *error*."""
    if isinstance(error, LinkLost):
        return Remedy.AGAIN
    if isinstance(error, CommandError):
        message = str(error)
        if STREAM_DELETED in message:
            return Remedy.REPAIR
        if any(part in message for part in _AGAIN):
            return Remedy.AGAIN
        return next((REMEDIES[code] for code in _codes(error) if code in REMEDIES), Remedy.NONE)
    return Remedy.NONE


def is_elsewhere(error: Exception) -> bool:
    """Return whether another link should be opened before the next try."""
    message = str(error)
    if ON_A_REPLICA in message or TOO_MANY_CLIENTS in message:
        return True
    if STREAM_DELETED in message:
        return False
    return any(code in _ELSEWHERE for code in _codes(error))


def is_too_large(error: Exception) -> bool:
    """Return whether Redis refused a call for its size."""
    message = str(error)
    return isinstance(error, CommandError) and any(part in message for part in TOO_LARGE)


def moved_to(error: Exception) -> tuple[str, int] | None:
    """Return the host and port to which a cluster redirects with *error*, or None.

    An empty host is the one that was asked.
    """
    code, _, rest = str(error).partition(" ")
    if code != "MOVED":
        return None
    host, _, port = rest.partition(" ")[2].rpartition(":")
    # "?" is a node that should have a name but has none.
    return (host, int(port)) if host != "?" and port.isdecimal() else None


def with_advice(error: Exception) -> Exception:
    """Return *error* as callers see it: what to do about it, and the message of Redis."""
    if not isinstance(error, CommandError):
        return error
    if is_forbidden(error):
        advice = _advice_on_right(error)
    elif any(part in str(error) for part in SLOT_MOVES_IN_SCRIPT):
        advice = _SLOT_MOVES
    else:
        advice = next((ADVICE[code] for code in _codes(error) if code in ADVICE), None)
    return error if advice is None else CommandError(f"{advice} ({error})")


def is_forbidden(error: Exception) -> bool:
    """Return whether the Redis user lacks a right."""
    if not isinstance(error, CommandError):
        return False
    message = str(error)
    return bool(re.search(_NOPERM, message)) or any(part in message for part in NO_RIGHT_IN_SCRIPT)


def is_withheld(error: Exception) -> bool:
    """Return whether the Redis user lacks a right, or the host has removed the command."""
    return is_forbidden(error) or _UNKNOWN_COMMAND in str(error)


def right_missing(error: Exception) -> str:
    """Return what to grant to the Redis user, if *error* is about a right."""
    message = str(error)
    if command := re.search(_COMMAND, message):
        return f"+{command[1]}"
    return "~aiostreamq:*" if re.search(_KEYS, message) else "the command that ACL LOG names"


def _advice_on_right(error: Exception) -> str:
    return (
        f"the Redis user lacks a right that aiostreamq needs: grant it {right_missing(error)} "
        f"(all rights: {RULES})"
    )


def _codes(error: Exception) -> list[str]:
    # The code comes first, but inside of a script Redis puts a dozen words before it.
    return [part.lstrip("-") for part in str(error).replace(":", " ").split()[:20]]
