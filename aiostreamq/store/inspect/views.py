"""The values that looks into a queue return."""

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

Tasks = dict[str, int]


class Fields(NamedTuple):
    """One entry of a stream."""

    entry: str  #: its id
    fields: "Mapping[bytes, bytes]"


class LaneView(NamedTuple):
    """One stream."""

    name: str
    waiting: int
    running: int
    oldest: str  #: the entry that waits longest; empty if none waits
    waiting_tasks: Tasks  #: in the sample
    running_tasks: Tasks  #: in the sample


class HeldView(NamedTuple):
    """The held jobs of a queue."""

    by_lane: "Mapping[str, int]" = MappingProxyType({})  #: how many there are, by lane
    ready: int = 0  #: backlogs whose limits may have room
    ready_sampled: int = 0  #: of how many of those the jobs were counted
    ready_tasks: "Mapping[str, int]" = MappingProxyType({})  #: the jobs of these, by task
    #: jobs of some backlogs that wait for limits, by task
    blocked_tasks: "Mapping[str, int]" = MappingProxyType({})

    @property
    def total(self) -> int:
        """How many held jobs there are."""
        return sum(self.by_lane.values())

    @property
    def admittable(self) -> int:
        """About how many of them are in backlogs whose limits may have room."""
        counted = sum(self.ready_tasks.values())
        if self.ready_sampled:
            counted = round(counted * self.ready / self.ready_sampled)
        return min(self.total, counted)


class View(NamedTuple):
    """A whole queue."""

    now_ms: int
    delayed: int
    due_ms: int  #: when the first delayed job is due, -1 if there is none
    delayed_tasks: Tasks  #: in the sample
    dead: int
    dead_tasks: Tasks  #: in the sample
    parked_tasks: Tasks
    lanes: list[LaneView]
    held: HeldView = HeldView()


class Pending(NamedTuple):
    """A delivery that a worker has."""

    entry: str
    worker: str
    idle_ms: int
