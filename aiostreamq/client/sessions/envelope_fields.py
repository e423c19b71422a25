"""The fields of an envelope beside its call: the options of the job, and what it inherits."""

from typing import TYPE_CHECKING, cast

from aiostreamq.client.inherited import INHERITED
from aiostreamq.model.metadata import joined_headers
from aiostreamq.model.time import After

if TYPE_CHECKING:
    from aiostreamq.client.call import Using
    from aiostreamq.client.protocols import JobHome
    from aiostreamq.model.time import When
    from aiostreamq.store.connection.clock import ServerClock
    from aiostreamq.store.queue import QueueStore


def fields_of(using: "Using", store: "QueueStore", home: "JobHome") -> dict[str, object]:
    """Return the envelope fields of *using*, with its moments by Redis's clock.

    Args:
        using: The options of the job, as its caller gave them.
        store: The queue, whose clock relative moments refer to.
        home: The queue, whose tasks callbacks call.

    Raises:
        UsageError: The headers of the job and those that it inherits are too long together, or a
            callback is not one of this queue.
        PayloadError: An argument of a callback cannot be sent as JSON.
    """
    inherited = INHERITED.get()
    if inherited is None and using.is_plain:
        return using.fields
    fields, expires, deadline = dict(using.fields), using.expires, using.deadline
    if expires is not None:
        fields["expires"] = _moment_ms(expires, store.clock)
    if deadline is not None:
        fields["deadline"] = _moment_ms(deadline, store.clock)
    if inherited is not None:
        if (latest := inherited.deadline) is not None:
            fields["deadline"] = min(cast("float", fields.get("deadline", latest)), latest)
        if inherited.headers:
            fields["headers"] = joined_headers(inherited.headers, using.options.headers)
    if using.has_callbacks:
        # Imported at the first use: most jobs have none.
        from aiostreamq.client.callbacks import add_callbacks

        add_callbacks(fields, using.options, store.place_of, home)
    return fields


def _moment_ms(when: "When", clock: "ServerClock") -> int:
    return when.ms + (clock.now_ms() if isinstance(when, After) else 0)
