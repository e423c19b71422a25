"""Jobs whose entries were deleted beneath the worker that has them: nobody else has those now."""

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.delivery import RetryRequest
    from aiostreamq.store.broker import Broker
    from aiostreamq.store.connection.link import Argument


async def restore(broker: "Broker", batch: "Sequence[RetryRequest]") -> "list[int]":
    """Let jobs run again from what the worker holds; returns the places of those not gone.

    The places count from 0.

    Args:
        broker: The queue.
        batch: At most SETTLE_LIMIT; with the attempts that come next.
    """
    arguments: list[Argument] = [broker.keys.prefix]
    for delivery, delay_ms in batch:
        arguments += delivery[:4]  # stream, entry, job id, number
        arguments += (delivery.attempt, delay_ms, delivery.envelope)
    keys = [broker.keys.delayed, broker.keys.control, *broker.streams]
    refused = cast("list[int]", await broker.run("requeue_deleted", keys, arguments))
    return [place - 1 for place in refused]
