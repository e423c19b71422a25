"""The options of `aiostreamq run`."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from aiostreamq.cli.connect import add_import
from aiostreamq.cli.named_queue import is_in_code
from aiostreamq.cli.option_sources import add_flag
from aiostreamq.cli.option_sources import add_sourced as _add
from aiostreamq.cli.option_values import choice, duration, port, text, whole
from aiostreamq.cli.process.recycling import size
from aiostreamq.errors import UsageError
from aiostreamq.worker.settings import (
    LEASE,
    LOOP_BLOCK_WARNING,
    MAX_HELD_BYTES,
    MAX_WORKER_DEATHS,
    PROCESSES,
    SHORTEST_LEASE,
    SHUTDOWN_TIMEOUT,
    THREADS,
)

if TYPE_CHECKING:
    from aiostreamq.cli.parser import Options

# The first of each is the default.
LOOPS = ("auto", "asyncio", "uvloop")
LOG_FORMATS = ("text", "json")

# Probes come from outside the container, from the node. --health-port asks for them, and the
# answers hold no secret.
HEALTH_HOST = "0.0.0.0"  # noqa: S104  # on purpose, see above


def add_run(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command."""
    run = add_parser(
        "run",
        help="run the jobs of a queue, or of several",
        description="Run the jobs of a queue until SIGINT or SIGTERM. The first signal drains: "
        "running jobs may finish. The second leaves at once. Every option can be set as "
        "AIOSTREAMQ_<OPTION> too, a flag with 1.",
    )
    run.add_argument(
        "targets",
        nargs="+",
        metavar="module:queue",
        help="the queue, as package.module:name; several share --concurrency",
    )
    group = run.add_argument_group
    _add_queue(group("which queue"))
    _add_numbers(group("jobs"))
    _add_supervision(group("processes"))
    _add_ends(group("start and end"))
    _add_recovery(group("recovery"))
    _add_health(group("health"))
    _add_logs(group("logs"))


def _add_queue(run: "Options") -> None:
    add_import(run)
    _add(run, "--lanes", text, None, "the lanes to serve, separated by commas (default: all)")
    _add(run, "--url", text, None, "the Redis to use instead of the queue's own")
    # The other commands have it.
    run.add_argument("--queue", nargs="?", action=_RefusedQueue, help=argparse.SUPPRESS)


class _RefusedQueue(argparse.Action):
    """Refuses --queue, by which the other commands name a queue in Redis."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Raise UsageError, with the command to use."""
        del parser, namespace, option_string
        target = values if isinstance(values, str) and is_in_code(values) else "app:queue"
        raise UsageError(
            f"run has no --queue: a worker imports the code of its tasks, and --queue names a "
            f"queue in Redis; name the queue of your code, as in `aiostreamq run {target}`"
        )


def _add_logs(run: "Options") -> None:
    levels = "debug, info, warning or error (default: %(default)s)"
    _add(run, "--log-level", text, "info", levels)
    _add_choice(run, "--log-format", LOG_FORMATS, "the format of log lines (default: %(default)s)")
    _add(
        run,
        "--log-config",
        text,
        None,
        "none to leave logging to the app, or a file for logging.config (default: log to stderr "
        "unless the app sets logging up)",
        metavar="{none,FILE}",
    )
    _add(run, "--name", text, None, "the name of this worker in logs")
    _add(
        run,
        "--loop-block-warning",
        duration,
        f"{LOOP_BLOCK_WARNING:g}",
        "seconds that a job may block the event loop before a warning (default: %(default)s)",
    )
    add_flag(run, "--log-jobs", "log the start and the end of each job")


def _add_numbers(run: "Options") -> None:
    _add(run, "--concurrency", whole, "100", "how many jobs run at a time (default: %(default)s)")
    _add(
        run,
        "--threads",
        whole,
        f"{THREADS}",
        "how many jobs of `def` tasks run at a time in threads (default: %(default)s)",
    )
    _add(
        run,
        "--processes",
        whole,
        f"{PROCESSES}",
        "how many jobs of executor='process' tasks run at a time (default: one per core)",
    )
    _add(
        run,
        "--max-held-bytes",
        size,
        f"{MAX_HELD_BYTES // 1024**2}mb",
        "run fewer jobs at a time while their payloads take more (default: %(default)s)",
    )


def _add_supervision(run: "Options") -> None:
    _add(run, "--workers", whole, "1", "how many worker processes to keep (default: %(default)s)")
    _add(run, "--max-jobs", whole, None, "replace a worker process after about this many jobs")
    _add(
        run,
        "--max-rss",
        size,
        None,
        "replace a worker process that takes more memory: 512mb",
    )
    add_flag(
        run,
        "--reload",
        "for development: restart when Python files under the current directory change",
    )
    # The number of an open socket, by which a supervisor starts its workers.
    run.add_argument("--supervisor-link", type=int, help=argparse.SUPPRESS)
    # The number of the place, from 1, that the worker has there.
    run.add_argument("--supervisor-slot", type=int, default=0, help=argparse.SUPPRESS)


def _add_ends(run: "Options") -> None:
    add_flag(run, "--burst", "exit when no job is left")
    _add_choice(run, "--loop", LOOPS, "the event loop; auto is uvloop if it is installed")
    _add(
        run,
        "--shutdown-timeout",
        duration,
        f"{SHUTDOWN_TIMEOUT:g}",
        "seconds that running jobs may take to finish after SIGTERM (default: %(default)s)",
    )


def _add_recovery(run: "Options") -> None:
    _add(
        run,
        "--lease",
        partial(duration, least=SHORTEST_LEASE),
        f"{LEASE:g}",
        "seconds of silence after which others take a worker's jobs (default: %(default)s)",
    )
    _add(
        run,
        "--max-worker-deaths",
        whole,
        f"{MAX_WORKER_DEATHS}",
        "give a job up after this many workers died while they had it (default: %(default)s)",
    )


def _add_health(run: "Options") -> None:
    _add(
        run,
        "--health-port",
        port,
        None,
        "answer /live and /ready over HTTP at this port; 0: any free one (default: no port)",
    )
    _add(
        run,
        "--health-host",
        text,
        HEALTH_HOST,
        "the address of that port (default: %(default)s)",
    )
    add_flag(
        run,
        "--metrics",
        "answer /metrics there too, for Prometheus; worker processes of a supervisor answer at the "
        "ports after it",
    )


def _add_choice(run: "Options", option: str, choices: tuple[str, ...], meaning: str) -> None:
    read, shown = partial(choice, choices=choices), f"{{{','.join(choices)}}}"
    _add(run, option, read, choices[0], meaning, metavar=shown)
