"""What Redis tells of streams and of the queue's group in them."""

from typing import TYPE_CHECKING, cast

from aiostreamq.model.keys import GROUP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiostreamq.store.connection.link import Reply

    Facts = Mapping[bytes, Reply]


def facts_of(told: "Reply") -> "Facts":
    """Read what XINFO STREAM answers, or one part of what XINFO GROUPS does."""
    flat = cast("list[Reply]", told)
    return dict(zip(cast("list[bytes]", flat[::2]), flat[1::2], strict=True))


def own_group(told: "Reply") -> "Facts | None":
    """Find the queue's group in what XINFO GROUPS answers; None where there is none."""
    groups = map(facts_of, cast("list[Reply]", told))
    return next((facts for facts in groups if facts.get(b"name") == GROUP.encode()), None)


def last_delivered(told: "Reply") -> str:
    """Up to which entry workers have read, by what XINFO GROUPS answers."""
    group = own_group(told)
    return "0-0" if group is None else cast("bytes", group[b"last-delivered-id"]).decode()
