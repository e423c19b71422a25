"""The names of keys, and the names that may be part of one."""

import pytest

from aiostreamq import UsageError
from aiostreamq.model.keys import GROUP, RETURNED, Keys, checked_name


def test_layout() -> None:
    """The keys are a public contract: operators look at them, and old workers meet new ones."""
    keys = Keys("mail")
    assert GROUP == "aiostreamq"
    assert keys.stream("default") == "aiostreamq:{mail}:stream:default"
    assert keys.stream(RETURNED) == "aiostreamq:{mail}:stream:returned"
    assert keys.job("7") == "aiostreamq:{mail}:job:7"
    assert keys.result("7") == "aiostreamq:{mail}:result:7"
    assert keys.inbox("c") == "aiostreamq:{mail}:inbox:c"
    assert keys.dead == "aiostreamq:{mail}:dead"
    assert keys.events("7") == "aiostreamq:{mail}:events:7"
    assert keys.schedule("s") == "aiostreamq:{mail}:schedule:s"
    assert keys.worker("w1") == "aiostreamq:{mail}:worker:w1"
    assert keys.counted("w1") == "aiostreamq:{mail}:counted:w1"
    assert keys.parked_for("size") == "aiostreamq:{mail}:parked:size"
    assert keys.stats(7) == "aiostreamq:{mail}:stats:7"


@pytest.mark.parametrize("name", ["a", "A.b_c-d:9", "x" * 128])
def test_names(name: str) -> None:
    """Letters, digits and four signs make a name."""
    assert checked_name("queue", name) == name
    assert Keys(name).queue == name


@pytest.mark.parametrize("name", ["", "a b", "{a}", "a}b", "a\n", "é", "a/b", "x" * 129])
def test_what_is_no_name(name: str) -> None:
    """What could leave the queue's hash slot, or be mistaken in a key, is refused."""
    with pytest.raises(UsageError, match="queue name"):
        Keys(name)
