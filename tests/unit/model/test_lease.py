"""When a worker is taken for dead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiostreamq.model.lease import LeaseWatch


def look_often(sightings: LeaseWatch, beats: dict[str, str], start: float, end: float) -> list[str]:
    """Look every half second from *start* to *end*; returns who was found dead."""
    dead: list[str] = []
    for half in range(int(start * 2), int(end * 2) + 1):
        dead += [name for name, _ in sightings.look(beats, half / 2)]
    return dead


def test_silent_worker_is_dead_after_its_lease() -> None:
    """A beat that stays the same for a lease of watching is a death, and not before."""
    sightings = LeaseWatch(0.5)
    beats = {"a": "7 3000"}
    assert look_often(sightings, beats, 0, 2.5) == []
    assert sightings.look(beats, 3.0) == [("a", "7 3000")]


def test_beating_worker_is_alive() -> None:
    """A worker whose counter moves is never dead, however long it is watched."""
    sightings = LeaseWatch(0.5)
    for second in range(100):
        assert sightings.look({"a": f"{second} 3000"}, float(second)) == []


def test_time_without_watching_does_not_count() -> None:
    """After an outage in which nobody could beat or look, nobody looks dead at once."""
    sightings = LeaseWatch(0.5)
    sightings.look({"a": "7 3000"}, 0.0)
    assert sightings.look({"a": "7 3000"}, 60.0) == []


def test_half_reaped_worker_is_taken_up_at_once() -> None:
    """A worker that another reaper left half done needs no second wait."""
    assert LeaseWatch(0.5).look({"a": "dead"}, 0.0) == [("a", "dead")]


def test_worker_that_left_is_forgotten() -> None:
    """A name that comes back starts with a fresh lease."""
    sightings = LeaseWatch(0.5)
    look_often(sightings, {"a": "7 3000"}, 0, 2.5)
    sightings.look({}, 2.75)
    assert sightings.look({"a": "7 3000"}, 3.0) == []


@given(st.lists(st.floats(min_value=-1e6, max_value=1e6), max_size=50))
def test_no_clock_makes_a_single_look_fatal(times: list[float]) -> None:
    """Whatever the watcher's clock does, one look adds at most two intervals of silence."""
    sightings = LeaseWatch(0.5)
    needed = 3.0 / (2 * 0.5)
    for count, now in enumerate(times):
        dead = sightings.look({"a": "7 3000"}, now)
        assert not dead or count >= needed


def test_next_look_is_due_when_a_lease_runs_out() -> None:
    """Whoever has been silent longest says how long the watcher may wait."""
    sightings = LeaseWatch(1.0)
    sightings.look({"a": "1 3000", "b": "1 5000"}, 0.0)
    sightings.look({"a": "1 3000", "b": "2 5000"}, 1.25)
    assert sightings.soonest() == 1.75
    assert sightings.look({"a": "1 3000", "b": "3 5000"}, 3.0) == [("a", "1 3000")]
    # The dead one is known: it is no reason to hurry any more.
    assert sightings.soonest() == 5.0


def test_next_look_with_nobody_there() -> None:
    """There is always a next look."""
    sightings = LeaseWatch(1.0)
    sightings.look({}, 0.0)
    assert sightings.soonest() == 1.0


def test_watch_that_begins_anew() -> None:
    """After an outage everybody has a whole lease again to show a sign of life."""
    sightings = LeaseWatch(0.5)
    assert look_often(sightings, {"a": "7 3000"}, 0, 2.5) == []
    sightings.forget()
    assert look_often(sightings, {"a": "7 3000"}, 3, 5.5) == []
    assert sightings.look({"a": "7 3000"}, 6.0) == [("a", "7 3000")]


def test_newer_workers_may_say_more() -> None:
    """What follows the lease in a beat is not for this version."""
    assert look_often(LeaseWatch(0.5), {"a": "7 3000 more"}, 0, 3.0) == ["a"]


@pytest.mark.parametrize("beat", ["", "7", "7 soon", "nonsense"])
def test_what_is_no_beat(beat: str) -> None:
    """A stranger's words make nobody dead, and do not keep others from being seen."""
    assert look_often(LeaseWatch(0.5), {"x": beat, "a": "7 3000"}, 0, 3.0) == ["a"]
