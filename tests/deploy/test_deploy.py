"""The board, the alert rules and the autoscalers in deploy/ name what exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml

from aiostreamq import Context, JobState, Queue, Worker, WorkerState
from aiostreamq.client.core import core_of
from aiostreamq.contrib.prometheus import QueueMetrics
from aiostreamq.model.keys import GROUP, Keys
from aiostreamq.telemetry import ConnectionLost
from tests.support.exposition import Exposition
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*.*") if path.suffix in {".json", ".yaml"})

#: The labels that Prometheus adds to each series, and that of histograms.
ADDED_LABELS = {"instance", "job", "le"}

SERIES = re.compile(r"\b(?:aiostreamq|process|python)_\w+")
#: Not metrics: the names under which an adapter offers them.
OFFERED = {"aiostreamq_waiting_jobs", "aiostreamq_slot_use"}


def texts(value: object) -> Iterator[str]:
    """Yield the texts of a document."""
    match value:
        case str():
            yield value
        case dict():
            for one in cast("dict[str, object]", value).values():
                yield from texts(one)
        case list():
            for one in cast("list[object]", value):
                yield from texts(one)
        case _:
            pass


def documents(path: Path) -> list[Any]:
    """Return the documents of a file, and those that are texts in them."""
    if path.suffix == ".json":
        return [json.loads(path.read_text())]
    found = list(yaml.safe_load_all(path.read_text()))
    inner = [text for text in texts(found) if text.startswith("externalRules:")]
    return found + [yaml.safe_load(text) for text in inner]


def expressions(path: Path) -> set[str]:
    """Return the texts of a file that name a metric."""
    return {
        text
        for document in documents(path)
        for text in texts(document)
        if SERIES.search(text) and not text.startswith(("externalRules:", "Queues of"))
    }


@pytest.fixture
async def scraped(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """The labels of each series of a worker that has run jobs."""
    monkeypatch.setattr("aiostreamq.contrib.prometheus.loop_lag.INTERVAL", 0.001)
    monkeypatch.setattr("aiostreamq.contrib.prometheus.queue_state.KEPT", -1.0)
    async with Queue(redis_url, name="shop") as queue:

        @queue.task
        async def buy(context: Context) -> None:
            if context.attempt == 1:
                raise ValueError("no tea")

        @queue.on_event
        def nothing(_: object) -> None: ...

        worker = Worker(queue)
        metrics = QueueMetrics(queue, workers=[worker])
        core_of(queue).listeners.emit(ConnectionLost("shop", "beat", OSError()))
        async with worker:
            await queue.enqueue("buy")
            found: dict[str, set[str]] = {}

            async def is_complete() -> bool:
                scrape = Exposition(*await metrics.render())
                found.clear()
                for sample in scrape.samples:
                    found.setdefault(sample.name, set()).update(sample.labels)
                return {
                    "aiostreamq_queue_run_duration_seconds_bucket",
                    "aiostreamq_run_duration_seconds_bucket",
                    "aiostreamq_loop_lag_seconds_bucket",
                    "aiostreamq_lost_connections_total",
                    "aiostreamq_queue_workers",
                    "aiostreamq_enqueued_jobs_total",
                } <= found.keys()

            await wait_until(is_complete, "all metrics to be there")
    # They have none until something happens.
    for name in ("parked_jobs", "handed_back_jobs"):
        found.setdefault(f"aiostreamq_{name}_total", {"queue", "task"})
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
async def test_names_exist(path: Path, scraped: dict[str, set[str]]) -> None:
    """Each metric is one that a worker shows, and has the labels that are asked for."""
    for expression in expressions(path):
        names = set(SERIES.findall(expression)) - OFFERED
        assert names <= scraped.keys(), expression
        known = set[str]().union(*(scraped[name] for name in names)) | ADDED_LABELS
        asked = set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!=|=)", expression))
        for group in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression):
            asked |= {label.strip() for label in group.split(",")}
        assert asked <= known, expression


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_states_exist(path: Path) -> None:
    """A state that is asked for is one that there is, of a job, of a worker or of a waiting one."""
    states = {state.value for state in (*JobState, *WorkerState)} | {"waiting", "lost", "unknown"}
    for expression in expressions(path):
        for asked in re.findall(r'state=~?"([^"]*)"', expression):
            assert set(asked.split("|")) <= states, expression


def test_state_of_the_queue_is_not_summed_over_processes() -> None:
    """Every process shows it: so it is asked for with a maximum, and summed over that at most."""
    for expression in set[str]().union(*map(expressions, FILES)):
        if expression.startswith("label_values") or SERIES.fullmatch(expression):
            continue  # not an expression of PromQL
        for found in re.finditer(r"aiostreamq_queue_\w+", expression):
            before = expression[: found.start()]
            around = re.findall(r"\b(sum|max|avg|count)(?: by \([^)]*\))? ?\(", before)
            assert around, expression
            assert around[-1] == "max", expression


def test_every_metric_of_the_board_has_a_panel() -> None:
    """The board shows the state of the queue and of the processes, each panel with its meaning."""
    board = documents(DEPLOY / "grafana" / "aiostreamq.json")[0]
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len(panels) >= 15
    assert all(panel["description"] and panel["targets"] for panel in panels)
    places = [tuple(panel["gridPos"][key] for key in "xywh") for panel in board["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in board["panels"]}) == len(places)


def test_autoscaler_reads_the_stream_of_a_lane() -> None:
    """KEDA is given the stream and the group of the queue that its other trigger is about."""
    (scaled,) = documents(DEPLOY / "kubernetes" / "keda.yaml")
    stream, ages = (trigger["metadata"] for trigger in scaled["spec"]["triggers"])
    assert stream["stream"] == Keys("shop").stream("default")
    assert stream["consumerGroup"] == GROUP
    assert 'queue="shop", lane="default"' in ages["query"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="this machine has no Prometheus")
def test_prometheus_takes_the_files() -> None:
    """Prometheus's own tool finds no fault in the rules and the configuration."""
    for command, name in (("rules", "alerts.yaml"), ("config", "prometheus.yaml")):
        done = subprocess.run(
            ["promtool", "check", command, str(DEPLOY / "prometheus" / name)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
