"""The events of one worker incarnation, for listeners."""

from typing import TYPE_CHECKING, Concatenate, ParamSpec

from aiostreamq.aio.listeners import Listeners

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.model.listener_events import TelemetryEvent

P = ParamSpec("P")


class WorkerListeners(Listeners["TelemetryEvent"]):
    """The listeners of one incarnation, and what its events have in common.

    Check `is_heard` before calling `report`: so that telemetry costs nothing without a listener.
    """

    def __init__(self, parent: "Listeners[TelemetryEvent]", queue: str, worker: str) -> None:
        super().__init__(parent)
        self.worker = worker  #: the name of the incarnation
        self._queue = queue

    def report(
        self,
        kind: "Callable[Concatenate[str, str, P], TelemetryEvent]",
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Emit an event of a *kind*; the fields are those after queue and worker."""
        self.emit(kind(self._queue, self.worker, *args, **kwargs))
