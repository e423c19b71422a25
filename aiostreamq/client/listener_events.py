"""The events of the side that enqueues, for listeners. Called only if there are any."""

from typing import TYPE_CHECKING

from aiostreamq.store.enqueue import IdWas

if TYPE_CHECKING:
    import asyncio

    from aiostreamq.aio.listeners import Listeners
    from aiostreamq.model.listener_events import TelemetryEvent
    from aiostreamq.store.connection.connector import Connector


class QueueTelemetry:
    """Reports what a queue object does in this process."""

    def __init__(
        self, listeners: "Listeners[TelemetryEvent]", queue: str, connector: "Connector"
    ) -> None:
        self.listeners = listeners  #: check `is_heard` before reporting a job
        self._queue = queue
        connector.on_outage = self.report_outage

    def report_when_done(
        self, done: "asyncio.Future[IdWas]", task: str, job_id: str, lane: str
    ) -> None:
        """Report that a job was enqueued, once *done* shows that it was."""

        def report(done: "asyncio.Future[IdWas]") -> None:
            if not done.cancelled() and done.exception() is None:
                self.report_enqueued(done.result(), task, job_id, lane)

        done.add_done_callback(report)

    def report_enqueued(self, id_was: IdWas, task: str, job_id: str, lane: str) -> None:
        """Report that a job was enqueued, unless its id was taken before the call."""
        if id_was is not IdWas.TAKEN:
            from aiostreamq.model.listener_events import JobEnqueued

            self.listeners.emit(JobEnqueued(self._queue, task, job_id, lane))

    def report_outage(self, connection: str, error: Exception | None, seconds: float) -> None:
        """Report that a connection is lost; without an error, that it is regained.

        Args:
            connection: Its purpose.
            error: Why it was lost.
            seconds: How long it was lost.
        """
        if not self.listeners.is_heard:
            return
        from aiostreamq.model.listener_events import ConnectionLost, ConnectionRegained

        if error is not None:
            self.listeners.emit(ConnectionLost(self._queue, connection, error))
        else:
            self.listeners.emit(ConnectionRegained(self._queue, connection, seconds))
