"""The fields of an envelope beside its call: the options of the job, and what it inherits."""

from typing import TYPE_CHECKING, cast

from aiostreamq.client.inherited import INHERITED
from aiostreamq.model.metadata import joined_headers
from aiostreamq.model.time import After

if TYPE_CHECKING:
    from aiostreamq.client.call import Using
    from aiostreamq.model.time import When
    from aiostreamq.store.connection.clock import ServerClock


def fields_of(using: "Using", clock: "ServerClock") -> dict[str, object]:
    """Return the envelope fields of *using*, with its moments by Redis's clock.

    Args:
        using: The options of the job, as its caller gave them.
        clock: The clock that relative moments refer to.

    Raises:
        UsageError: The headers of the job and those that it inherits are too long together.
    """
    inherited, expires, deadline = INHERITED.get(), using.expires, using.deadline
    if expires is deadline is inherited is None:
        return using.fields
    fields = dict(using.fields)
    if expires is not None:
        fields["expires"] = _moment_ms(expires, clock)
    if deadline is not None:
        fields["deadline"] = _moment_ms(deadline, clock)
    if inherited is not None:
        if (latest := inherited.deadline) is not None:
            fields["deadline"] = min(cast("float", fields.get("deadline", latest)), latest)
        if inherited.headers:
            fields["headers"] = joined_headers(inherited.headers, using.options.headers)
    return fields


def _moment_ms(when: "When", clock: "ServerClock") -> int:
    return when.ms + (clock.now_ms() if isinstance(when, After) else 0)
