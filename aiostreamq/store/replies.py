"""What the scripts answer that end and take in jobs, place by place."""

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.delivery import Delivery, Settlement


class IdWas(IntEnum):
    """How an enqueue found the id of a job; true if it put nothing in."""

    FREE = 0
    TAKEN = 1
    DOUBTFUL = 2  #: taken, maybe by the same call: it was sent again after a lost reply

    @property
    def is_certain(self) -> bool:
        """Whether it was so before the call."""
        return self is not IdWas.DOUBTFUL


class Refusals(NamedTuple):
    """Places (from 0) of the jobs that an enqueue did not put in."""

    taken: set[int]  #: their ids are: whatever has them is left as it is
    full: set[int]  #: their lanes are
    is_certain: bool = True  #: whether it was sent once, and so met nothing of its own

    def id_was(self, place: int) -> IdWas:
        """How the id of the job at *place* was found."""
        if place not in self.taken:
            return IdWas.FREE
        return IdWas.TAKEN if self.is_certain else IdWas.DOUBTFUL


class Settled(NamedTuple):
    """What became of a batch of ends."""

    refused: "list[Delivery]"  #: their jobs belong to somebody else by now
    #: what has ended so: neither those, nor what had ended as cancelled before its worker
    #: could say anything, which was counted then
    ended: "Sequence[Settlement]"


def refusals_of(places: "Sequence[int]") -> Refusals:
    """Read what enqueue.lua answers."""
    return Refusals(
        {place - 1 for place in places if place > 0},
        {-place - 1 for place in places if place < 0},
    )


def settled_of(batch: "Sequence[Settlement]", places: "Sequence[int]") -> Settled:
    """Read what settle.lua answers."""
    if not places:
        return Settled([], batch)
    others = set(map(abs, places))
    return Settled(
        [batch[place - 1].delivery for place in places if place > 0],
        [one for place, one in enumerate(batch, start=1) if place not in others],
    )
