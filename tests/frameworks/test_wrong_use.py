"""Wrong uses of the helpers raise a clear error."""

import pytest
from starlette.requests import HTTPConnection

from aiostreamq import UsageError
from aiostreamq.contrib.starlette import get_queue, queue_lifespan, queue_named


def test_lifespan_without_a_queue() -> None:
    """It has nothing to open."""
    with pytest.raises(UsageError, match="needs a queue"):
        queue_lifespan()


@pytest.mark.parametrize("find", [get_queue, queue_named("any")])
def test_application_without_the_lifespan(find: object) -> None:
    """A request of an application whose lifespan was not run has no queue."""
    assert callable(find)
    with pytest.raises(UsageError, match="queue_lifespan"):
        find(HTTPConnection({"type": "http", "state": {}}))
