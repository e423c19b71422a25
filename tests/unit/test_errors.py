"""Every exception can be pickled and copied, also those that users derive."""

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context

import pytest

import aiostreamq
from aiostreamq import (
    Drop,
    EnqueueNotConfirmed,
    EventsLost,
    GiveUp,
    JobFailed,
    JobRestarted,
    QueueFull,
    RateLimited,
    RetryLater,
    UsageError,
    WaitTimeout,
)
from aiostreamq.model.exception_names import Kinds
from aiostreamq.model.outcome import Failure, RemoteException
from aiostreamq.store.connection.link import CommandError, LinkLost

EXPORTED = [
    exported
    for name in aiostreamq.__all__
    if isinstance(exported := getattr(aiostreamq, name), type)
    and issubclass(exported, BaseException)
]


class OfUser(Drop):
    """Takes what is no message, and nothing else."""

    __slots__ = ("__hidden", "tenant")

    def __init__(self, *, tenant: int, hint: str) -> None:
        super().__init__(f"tenant {tenant}: {hint}")
        self.tenant = tenant
        self.hint = hint
        self.__hidden = [tenant]

    def told(self) -> object:
        """What there is to compare."""
        return self.tenant, self.hint, self.__hidden


class Derived(JobFailed):
    """Takes less than its base."""

    def __init__(self, code: int) -> None:
        super().__init__("Derived", f"code {code}", "", job_id="7")
        self.code = code


class Merged(UsageError, KeyError):
    """Has bases of two kinds, of which one has a `str` of its own."""


MADE: list[BaseException] = [
    *(kind() for kind in EXPORTED if kind not in (JobFailed, RateLimited)),
    *(kind("said") for kind in EXPORTED if kind not in (JobFailed, RateLimited, RetryLater)),
    JobFailed("ValueError", "no", "Traceback ...", job_id="1"),
    JobFailed("ValueError", "", ""),
    RetryLater(5),
    RetryLater("1m"),
    RetryLater(datetime(2030, 1, 1, tzinfo=UTC)),
    RateLimited("api", "1m"),
    Drop("why"),
    GiveUp("why"),
    EventsLost(job_id="1", after="2", count=3),
    JobRestarted("said", job_id="1", after="2"),
    EnqueueNotConfirmed(job_ids=("1", "2")),
    QueueFull(lane="a", max_length=3, enqueued=2),
    LinkLost("gone"),
    CommandError("OOM full"),
    RemoteException(Kinds(frozenset({"ValueError"})), Failure("ValueError", "no", "")),
    OfUser(tenant=1, hint="no"),
    Derived(4),
    Merged("key"),
]

WAYS: dict[str, Callable[[BaseException], BaseException]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": lambda error, protocol=protocol: pickle.loads(
            pickle.dumps(error, protocol)
        )
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


def test_table_has_all() -> None:
    """What is exported and can be raised is in the table."""
    assert len(EXPORTED) >= 20
    assert set(EXPORTED) <= set(map(type, MADE))


@pytest.mark.parametrize("way", WAYS)
def test_comes_back(way: str) -> None:
    """Each is of the same class, and says and holds the same."""
    for error in MADE:
        original = copy.copy(error)
        original.add_note("a note")
        original.__cause__ = ValueError("the cause")
        again = WAYS[way](original)
        assert type(again) is type(error)
        assert again is not original
        assert str(again) == str(error)
        assert repr(again) == repr(error)
        assert again.args == error.args
        assert again.__notes__ == ["a note"]
        assert again.__dict__ == original.__dict__
        assert again.__cause__ is None, "as Python does"
        if isinstance(error, OfUser):
            assert isinstance(again, OfUser)
            assert again.told() == error.told()
        if isinstance(again, RetryLater):
            assert again.pause(0) == error.pause(0)  # pyright: ignore[reportAttributeAccessIssue]


def test_system_error_of_its_own() -> None:
    """A WaitTimeout is an OSError by its bases, and has no number either way."""
    again = pickle.loads(pickle.dumps(WaitTimeout("said")))
    assert isinstance(again, TimeoutError)
    assert again.errno is None


@pytest.mark.parametrize("at", [0, -1])
def test_passes_a_process_pool(at: int) -> None:
    """Raised in a pool it comes back as it is, and the pool continues."""
    errors = [JobFailed("ValueError", "no", "", job_id="1"), RetryLater(5)]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with pytest.raises(type(errors[at]), match=str(errors[at])):
            pool.submit(_raise, errors[at]).result()
        assert pool.submit(len, "abc").result() == 3


def _raise(error: Exception) -> None:
    raise error
