"""The events that listeners get, by `queue.on_event` or `Worker(listeners=...)`.

A module of its own, because few programs need these names: `aiostreamq` itself does not import it.
"""

from aiostreamq.model.listener_events import (
    ConnectionLost,
    ConnectionRegained,
    JobDelivered,
    JobEnded,
    JobEnqueued,
    JobHandedBack,
    JobParked,
    JobRetried,
    JobsRecovered,
    JobStarted,
    Listener,
    LoopBlocked,
    OutcomeRefused,
    TelemetryEvent,
)

__all__ = [
    "ConnectionLost",
    "ConnectionRegained",
    "JobDelivered",
    "JobEnded",
    "JobEnqueued",
    "JobHandedBack",
    "JobParked",
    "JobRetried",
    "JobStarted",
    "JobsRecovered",
    "Listener",
    "LoopBlocked",
    "OutcomeRefused",
    "TelemetryEvent",
]
