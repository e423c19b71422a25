"""Replies of XINFO: streams, and the queue's group in them."""

from typing import TYPE_CHECKING, cast

from aiostreamq.model.keys import GROUP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiostreamq.store.connection.link import Reply

    Facts = Mapping[bytes, Reply]


def facts_of(reply: "Reply") -> "Facts":
    """Read the reply of XINFO STREAM, or one group in that of XINFO GROUPS."""
    flat = cast("list[Reply]", reply)
    return dict(zip(cast("list[bytes]", flat[::2]), flat[1::2], strict=True))


def own_group(reply: "Reply") -> "Facts | None":
    """Find the queue's group in the reply of XINFO GROUPS; None if it is not there."""
    groups = map(facts_of, cast("list[Reply]", reply))
    return next((facts for facts in groups if facts.get(b"name") == GROUP.encode()), None)


def last_delivered(reply: "Reply") -> str:
    """Return the id of the last entry that a worker was sent, from the reply of XINFO GROUPS."""
    group = own_group(reply)
    return "0-0" if group is None else cast("bytes", group[b"last-delivered-id"]).decode()
