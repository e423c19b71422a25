"""`--metrics`: the metrics of a worker process, at the health port or at one after it."""

import argparse
import asyncio
import importlib.util
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from aiostreamq.errors import UsageError
from aiostreamq.logs import get_logger
from aiostreamq.model.worker_state import HasState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.cli.process.health import Metrics
    from aiostreamq.queue import Queue
    from aiostreamq.worker.group import WorkerGroup
    from aiostreamq.worker.worker import Worker

logger = get_logger("aiostreamq.cli")

# Seconds between two tries to listen at a port, which a worker that drains may still have.
TRY_AGAIN = 1.0


def check_metrics(args: argparse.Namespace) -> None:
    """Check that `--metrics` can be obeyed.

    Raises:
        UsageError: It cannot.
    """
    if not args.metrics:
        return
    if args.health_port is None:
        raise UsageError("--metrics needs a port: give --health-port 8080 too")
    if importlib.util.find_spec("prometheus_client") is None:
        raise UsageError("--metrics needs the extra: pip install 'aiostreamq[metrics]'")


def metrics_of(
    queues: "Sequence[Queue]", worker: "Worker | WorkerGroup", args: argparse.Namespace
) -> "Metrics | None":
    """Begin to count, if `--metrics` is given; return what answers scrapes."""
    if not args.metrics:
        return None
    from aiostreamq.contrib.prometheus import QueueMetrics  # needs the extra

    return QueueMetrics(*queues, workers=[worker]).answer


async def serve_supervised(worker: HasState, metrics: "Metrics", args: argparse.Namespace) -> None:
    """Serve the metrics of a worker of a supervisor, at the port of its slot, until cancelled.

    The supervisor has the health port, and each worker the port after it by the number of its
    slot. While a worker replaces one that drains, that one still has the port.
    """
    from aiostreamq.cli.process.health import serve_health

    port = args.health_port and args.health_port + args.supervisor_slot
    has_complained = False
    async with AsyncExitStack() as stack:
        while True:
            try:
                server = serve_health(worker, args.health_host, port, metrics)
                await stack.enter_async_context(server)
                break
            except UsageError as error:
                if not has_complained:
                    logger.info("metrics: %s; trying again", str(error).partition(";")[0])
                has_complained = True
                await asyncio.sleep(TRY_AGAIN)
        await asyncio.Event().wait()
