"""What to do about an error from Redis: the one classifier."""

from enum import Enum, auto

from aiostreamq.store.link import CommandError, LinkLost


class Remedy(Enum):
    """What may help."""

    AGAIN = auto()  #: the same call, a little later
    REPAIR = auto()  #: streams or groups are gone: make them, then again
    PUSH_BACK = auto()  #: Redis is full: tell the producer
    NONE = auto()  #: it will not get better by itself


_REMEDIES = {
    "LOADING": Remedy.AGAIN,
    "BUSY": Remedy.AGAIN,
    "TRYAGAIN": Remedy.AGAIN,
    "CLUSTERDOWN": Remedy.AGAIN,
    "MASTERDOWN": Remedy.AGAIN,
    "READONLY": Remedy.AGAIN,
    "NOREPLICAS": Remedy.AGAIN,
    "MISCONF": Remedy.AGAIN,
    "UNBLOCKED": Remedy.AGAIN,
    "NOGROUP": Remedy.REPAIR,
    "OOM": Remedy.PUSH_BACK,
}

# These mean that another server is in charge now: the link leads to the wrong one.
_ELSEWHERE = frozenset({"READONLY", "MASTERDOWN", "UNBLOCKED"})


def remedy_for(error: Exception) -> Remedy:
    """Return what may help against *error*."""
    if isinstance(error, LinkLost):
        return Remedy.AGAIN
    if isinstance(error, CommandError):
        return next((_REMEDIES[w] for w in _words(error) if w in _REMEDIES), Remedy.NONE)
    return Remedy.NONE


def is_elsewhere(error: Exception) -> bool:
    """Whether the link should be opened anew before the next try."""
    return any(word in _ELSEWHERE for word in _words(error))


def _words(error: Exception) -> list[str]:
    # For an error inside a script Redis puts a dozen words of its own before the code.
    return [word.lstrip("-") for word in str(error).replace(":", " ").split()[:20]]
