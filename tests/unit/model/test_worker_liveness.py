"""Whether a worker that holds deliveries may be dead."""

from aiostreamq.model.worker_liveness import SilentHolders

LONGEST = 4.0


def test_no_holders() -> None:
    """Then there is nothing to wait for."""
    assert not SilentHolders(LONGEST).may_return({}, 0.0)


def test_silent_holder_is_waited_for() -> None:
    """A holder without a new beat may be dead, for as long as the longest wait."""
    holders = SilentHolders(LONGEST)
    answers = [holders.may_return({"a": "7 3000 default"}, now) for now in (5.0, 6.0, 8.9, 9.0)]
    assert answers == [True, True, True, False]


def test_beating_holder_is_not_waited_for() -> None:
    """A holder lives if its beat changes; it stays so, although it beats no more."""
    holders = SilentHolders(LONGEST)
    assert holders.may_return({"a": "7 3000", "b": "1 3000"}, 0.0)
    assert holders.may_return({"a": "8 3000", "b": "1 3000"}, 1.0)
    assert not holders.may_return({"a": "8 3000"}, 2.0)


def test_holder_that_is_being_recovered_is_waited_for() -> None:
    """Its beat has changed, but to say that it is dead."""
    holders = SilentHolders(LONGEST)
    assert holders.may_return({"a": "7 3000 default"}, 0.0)
    assert holders.may_return({"a": "dead default"}, 1.0)


def test_consumer_without_a_beat_is_waited_for() -> None:
    """A consumer that is not registered cannot beat."""
    assert SilentHolders(LONGEST).may_return({"ghost": ""}, 0.0)


def test_new_wait() -> None:
    """After a while with jobs, the wait and the first beats begin again."""
    holders = SilentHolders(LONGEST)
    assert holders.may_return({"a": "7 3000"}, 0.0)
    assert not holders.may_return({"a": "8 3000"}, 1.0)
    holders.forget()
    assert holders.may_return({"a": "8 3000"}, 9.0)
