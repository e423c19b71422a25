"""`aiostreamq run --metrics`: scraped over real sockets, by a real Prometheus if there is one."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import signal
import socket
import urllib.parse
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from aiostreamq import Queue, UsageError, Worker, WorkerState
from aiostreamq.cli.process import health, metrics
from aiostreamq.cli.process.health import serve_health
from aiostreamq.cli.process.metrics import check_metrics, serve_supervised
from tests.deploy.test_deploy import DEPLOY, documents
from tests.integration.test_health import port_of
from tests.support.exposition import OPENMETRICS, Exposition
from tests.support.http import ask, parse, send
from tests.support.processes import Program, worker_program
from tests.support.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

OPTIONS = ("--health-host", "127.0.0.1", "--metrics")


class Ready:
    """A worker that is ready."""

    state = WorkerState.READY


async def scrape(port: int, accept: str = OPENMETRICS) -> Exposition:
    """Scrape a port as Prometheus does."""
    request = f"GET /metrics?x=y HTTP/1.1\r\nHost: x\r\nACCEPT: {accept}\r\n\r\n"
    answer = parse(await send(port, request.encode()))
    assert answer.status == 200
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["cache-control"] == "no-store"
    return Exposition(answer.body, answer.headers["content-type"])


async def run_jobs(queue: Queue, count: int) -> None:
    """Run jobs to their ends."""
    for job in [await queue.enqueue("who") for _ in range(count)]:
        await job


@pytest.mark.parametrize("accept", ["*/*", OPENMETRICS])
async def test_scrape_of_a_process(redis_url: str, accept: str) -> None:
    """One process: all at the health port, with the probes."""
    async with (
        Queue(redis_url, name="jobs") as queue,
        worker_program(redis_url, "--health-port", "0", *OPTIONS) as program,
    ):
        port = await port_of(program)
        await run_jobs(queue, 5)

        async def is_counted() -> bool:
            return (await scrape(port, accept)).sum("aiostreamq_ended_jobs_total") == 5

        await wait_until(is_counted, "the jobs to be counted")
        found = await scrape(port, accept)
        assert found.sum("aiostreamq_started_runs_total", queue="jobs", task="who") == 5
        assert found.sum("aiostreamq_slots") == 100
        assert found.sum("aiostreamq_queue_up", queue="jobs") == 1
        assert (found.sum("process_resident_memory_bytes") or 0) > 1e6
        assert (await ask(port, "/ready")).status == 200
        assert (await ask(port, "/metrics", "HEAD")).body == b""
        assert (await ask(port, "/metrics", "POST")).status == 405
        assert (await ask(port, "/else")).status == 404


async def test_without_the_option(redis_url: str) -> None:
    """There is no such path, as the answer names queues and tasks."""
    options = ("--health-port", "0", "--health-host", "127.0.0.1")
    async with worker_program(redis_url, *options) as program:
        assert (await ask(await port_of(program), "/metrics")).status == 404


async def test_several_processes(redis_url: str) -> None:
    """Each worker process answers for itself at a port of its own, beside the supervisor's."""
    async with (
        Queue(redis_url, name="jobs") as queue,
        worker_program(redis_url, "--health-port", "0", "--workers", "2", *OPTIONS) as program,
    ):

        def ports() -> list[int]:
            found = re.findall(r"health: http://127\.0\.0\.1:(\d+)/live, ", program.printed)
            return [int(port) for port in found]

        await wait_until(lambda: len(ports()) == 2, "both to listen")
        await run_jobs(queue, 8)

        async def are_counted() -> bool:
            found = [await scrape(port) for port in ports()]
            counts = [one.sum("aiostreamq_ended_jobs_total") or 0 for one in found]
            return sum(counts) == 8

        await wait_until(are_counted, "the jobs to be counted, each by one")
        supervisor = await port_of(program)
        assert supervisor not in ports()
        assert (await ask(supervisor, "/metrics")).status == 404
        program.send_signal(signal.SIGTERM)
        assert await program.wait_end() == 0


async def test_port_of_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """It follows the health port, and is waited for while another process has it."""
    monkeypatch.setattr(metrics, "TRY_AGAIN", 0.01)

    async def answer(method: str, accept: str) -> tuple[int, bytes, str]:
        return 200, f"{method} {accept}".encode(), "text/plain"

    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    args = argparse.Namespace(
        health_port=port - 3, health_host="127.0.0.1", supervisor_slot=3, metrics=True
    )
    serving = asyncio.create_task(serve_supervised(Ready(), answer, args))
    with taken:
        for _ in range(20):
            await asyncio.sleep(0)

    async def is_served() -> bool:
        try:
            return (await ask(port, "/metrics")).body == b"GET "
        except OSError:
            return False

    await wait_until(is_served, "the port to be free, and served")
    serving.cancel()
    await asyncio.wait([serving])


def unknown(_: str) -> None:
    """Find no module of any name."""


@pytest.mark.parametrize("is_installed", [True, False])
async def test_what_it_needs(monkeypatch: pytest.MonkeyPatch, is_installed: bool) -> None:
    """A port, and the extra; both are checked before anything begins."""
    args = argparse.Namespace(metrics=True, health_port=None if is_installed else 8080)
    if not is_installed:
        monkeypatch.setattr("importlib.util.find_spec", unknown)
    expected = "--health-port" if is_installed else r"aiostreamq\[metrics\]"
    with pytest.raises(UsageError, match=expected):
        check_metrics(args)
    check_metrics(argparse.Namespace(metrics=False, health_port=None))


async def test_metrics_that_hang(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scrape is cut off, the probes answer, jobs run, and the worker ends in order."""
    monkeypatch.setattr(health, "PATIENCE", 0.1)
    entered = asyncio.Event()

    async def hang(*_: str) -> tuple[int, bytes, str]:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with Queue(redis_url) as queue:

        @queue.task
        async def double(n: int) -> int:
            return 2 * n

        async with Worker(queue) as worker, serve_health(worker, "127.0.0.1", 0, hang) as port:
            assert await send(port, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
            assert entered.is_set()
            monkeypatch.setattr(health, "PATIENCE", PATIENCE)
            assert (await ask(port, "/ready")).status == 200
            assert await (await double.enqueue(2)) == 4


PROMETHEUS = shutil.which("prometheus")


@asynccontextmanager
async def prometheus(
    where: Path, ports: list[int]
) -> AsyncGenerator[Callable[..., Awaitable[Any]]]:
    """Start a Prometheus that scrapes ports, with the rules of deploy/; yield a way to ask it."""
    assert PROMETHEUS is not None
    config = {
        "global": {"scrape_interval": "200ms", "evaluation_interval": "200ms"},
        "rule_files": [str(DEPLOY / "prometheus" / "alerts.yaml")],
        "scrape_configs": [
            {
                "job_name": "aiostreamq",
                "scrape_timeout": "200ms",
                "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}],
            }
        ],
    }
    path = where / "prometheus.json"  # which is YAML too
    path.write_text(json.dumps(config))
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        PROMETHEUS,
        f"--config.file={path}",
        f"--storage.tsdb.path={where / 'data'}",
        f"--web.listen-address=127.0.0.1:{own}",
        "--log.level=error",
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{own}/api/v1/") as client:

            async def get(path: str, **params: str) -> Any:
                try:
                    answer = await client.get(f"{path}?{urllib.parse.urlencode(params)}")
                except httpx.TransportError:
                    return None
                return answer.json()["data"] if answer.status_code == 200 else None

            yield get
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.skipif(PROMETHEUS is None, reason="this machine has no Prometheus")
@pytest.mark.may_block("files are written")
async def test_real_prometheus(redis_url: str, tmp_path: Path) -> None:
    """It scrapes two worker processes, has the counts, and evaluates board and alert rules."""
    options = ("--health-port", "0", "--workers", "2", *OPTIONS)
    async with (
        Queue(redis_url, name="jobs") as queue,
        worker_program(redis_url, *options) as program,
    ):
        ports = await ports_of(program, 2)
        async with prometheus(tmp_path, ports) as get:

            async def value(expression: str) -> float | None:
                data = await get("query", query=expression)
                found: list[Any] = data["result"] if data else []
                return float(found[0]["value"][1]) if found else None

            async def are_up() -> bool:
                return await value("sum(up)") == 2 and await value("sum(aiostreamq_slots)") == 200

            await wait_until(are_up, "both to be scraped")
            await run_jobs(queue, 12)

            async def is_counted() -> bool:
                own = await value("sum(aiostreamq_ended_jobs_total)")
                return own == 12

            await wait_until(is_counted, "Prometheus to have the counts of the processes")

            async def is_counted_in_redis() -> bool:
                ended = "sum(max by (queue, task, state) (aiostreamq_queue_ended_jobs_total))"
                return await value(ended) == 12

            await wait_until(is_counted_in_redis, "Prometheus to have the counts of the queue")
            for expression in panels():
                data = await get("query", query=expression)
                assert data is not None, expression

            async def are_evaluated() -> bool:
                data: dict[str, list[Any]] = await get("rules") or {"groups": []}
                rules: list[Any] = [rule for group in data["groups"] for rule in group["rules"]]
                return bool(rules) and all(rule["health"] == "ok" for rule in rules)

            await wait_until(are_evaluated, "the alert rules to be evaluated")


async def ports_of(program: Program, count: int) -> list[int]:
    """Return the ports at which worker processes answer."""
    pattern = r"health: http://127\.0\.0\.1:(\d+)/live, "
    await wait_until(lambda: len(re.findall(pattern, program.printed)) == count, "them to listen")
    return [int(port) for port in re.findall(pattern, program.printed)]


def panels() -> list[str]:
    """Return the expressions of the board, for one queue."""
    board = documents(DEPLOY / "grafana" / "aiostreamq.json")[0]
    found = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    return [
        one.replace("$queue", "jobs").replace("$__rate_interval", "1m").strip() for one in found
    ]
