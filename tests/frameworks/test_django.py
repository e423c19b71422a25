"""The backend of `django.tasks` in a Django project under its real servers, with a real worker."""

from __future__ import annotations

import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from aiostreamq import JobState, Queue
from tests.docs.page import blocks_of
from tests.examples.processes import environment, free_port, running, worker
from tests.support.waiting import wait_until
from tests.support.warm_start import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from pathlib import Path

PROJECT = "tests.frameworks.django_project"
SERVERS = ("gunicorn", "uvicorn")
#: How a view enqueues: from a thread, in its event loop, or in one of asgiref's.
DOORS = ("", "/async", "/bridged")


@dataclass
class Site:
    """A running project and its client."""

    client: httpx.AsyncClient
    url: str

    async def enqueue(self, task: str, *args: object, door: str = "", **body: Any) -> Any:
        """Enqueue a call; return the result as its view shows it."""
        answer = await self.client.post(f"{door}/tasks/{task}", json={"args": args, **body})
        assert answer.status_code == 200, answer.text[-3000:]
        return answer.json()

    async def result(self, result_id: str, backend: str = "default", door: str = "") -> Any:
        """Return a result."""
        found = await self.client.get(f"{door}/results/{result_id}?backend={backend}")
        assert found.status_code == 200, found.text[-3000:]
        return found.json()

    async def ended(self, enqueued: Any, door: str = "") -> Any:
        """Return a result that has ended."""
        found: list[Any] = []

        async def has_ended() -> bool:
            found[:] = [await self.result(enqueued["id"], enqueued["backend"], door)]
            return found[0]["status"] in {"SUCCESSFUL", "FAILED"}

        await wait_until(has_ended, f"{enqueued['task']} to end")
        return found[0]

    async def run(self, task: str, *args: object, **body: Any) -> Any:
        """Enqueue a call, and return its result when it has ended."""
        return await self.ended(await self.enqueue(task, *args, **body))


def project_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have programs find the project, with a database of its own."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", f"{PROJECT}.settings")
    monkeypatch.setenv("DJANGO_DB", str(tmp_path / "shop.sqlite"))


def manage(*arguments: str, url: str) -> str:
    """Run a management command; return what it says."""
    ended = subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        env=environment(url),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def serving(server: str, port: int, url: str) -> Any:
    """Serve the project."""
    if server == "uvicorn":
        app = f"{PROJECT}.asgi:application"
        command = ("uvicorn", "--host", "127.0.0.1", "--port", str(port), "--lifespan", "off", app)
        return running("-m", *command, url=url, until="Uvicorn running", ends_with=-15)
    app = f"{PROJECT}.wsgi:application"
    command = ("gunicorn", "--preload", "--workers", "2", "--threads", "4", "--no-control-socket")
    bind = ("--bind", f"127.0.0.1:{port}")
    return running("-m", *command, *bind, app, url=url, until="Booting worker")


@asynccontextmanager
async def site_on(server: str, url: str) -> AsyncGenerator[Site, None]:
    """Serve the project without a worker."""
    manage("migrate", "--run-syncdb", "-v0", url=url)
    port = free_port()
    async with (
        serving(server, port, url),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        yield Site(client, url)


@pytest.fixture
async def site(
    request: pytest.FixtureRequest, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    """The project under a server, with a worker for each of its backends."""
    project_environment(tmp_path, monkeypatch)
    monkeypatch.setenv("ENQUEUE_AT_IMPORT", "1")
    target = "aiostreamq.contrib.django.worker"
    async with (
        site_on(request.param, redis_url) as site,
        worker(f"{target}:queue", url=redis_url),
        worker(f"{target}:queues.after_commit", url=redis_url),
        worker(f"{target}:queues.stubborn", url=redis_url),
    ):
        yield site


async def check_calls_from_each_door(site: Site) -> None:
    """Tasks of both kinds run, whichever view enqueues them, and all views find their results."""
    for door in DOORS:
        for task in ("add", "add_async"):
            before = datetime.now(UTC) - timedelta(seconds=1)
            enqueued = await site.enqueue(task, 1, 2, door=door)
            assert (enqueued["status"], enqueued["attempts"]) == ("READY", 0)
            found = await site.ended(enqueued, door="" if door == "/bridged" else door)
            assert (found["status"], found["return_value"]) == ("SUCCESSFUL", 3)
            assert (found["args"], found["kwargs"]) == ([1, 2], {})
            assert found["task"] == f"{PROJECT}.shop.tasks.{task}"
            assert (found["attempts"], found["errors"]) == (1, [])
            names = ("enqueued_at", "started_at", "finished_at")
            times = [datetime.fromisoformat(found[name]) for name in names]
            assert before < times[0] <= times[1] <= times[2]
            assert found["last_attempted_at"] == found["started_at"]
            assert found["enqueued_at"] == enqueued["enqueued_at"]


async def check_options_of_a_call(site: Site) -> None:
    """A result has the options of the decorator and of `using`, before and after its end."""
    for door in DOORS[:2]:
        plain = await site.run("counted", "x", kwargs={"times": 2}, door=door)
        assert (plain["priority"], plain["queue_name"]) == (5, "mail")
        assert (plain["return_value"], plain["kwargs"]) == (["x", "x"], {"times": 2})
        changed = {"priority": -7, "queue_name": "default"}
        found = await site.run("counted", "x", using=changed, door=door)
        assert {name: found[name] for name in changed} == changed
        assert found["kwargs"] == {}


async def check_run_after(site: Site) -> None:
    """A task for later is READY until then, and keeps its time."""
    for door in DOORS[:2]:
        far = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        later = await site.enqueue("add", 1, 2, using={"run_after": far}, door=door)
        assert await site.result(later["id"], door=door) == later | {"worker_ids": []}
        near = datetime.now(UTC) + timedelta(milliseconds=300)
        found = await site.run("add", 1, 2, using={"run_after": near.isoformat()}, door=door)
        assert datetime.fromisoformat(found["started_at"]) >= near - timedelta(milliseconds=50)


async def check_failures(site: Site) -> None:
    """A task that raised has FAILED, with its exception, its arguments and its worker."""
    for task in ("fails", "fails_async"):
        found = await site.run(task, "no luck")
        assert (found["status"], found["attempts"], found["args"]) == ("FAILED", 1, ["no luck"])
        ((path, traceback),) = found["errors"]
        assert path == "builtins.ValueError"
        assert traceback.startswith("Traceback")
        assert traceback.rstrip().endswith("ValueError: no luck")
        assert "asgiref" not in traceback
        assert found["started_at"] <= found["finished_at"]
    found = await site.run("returns_no_json")
    assert (found["status"], found["errors"][0][0]) == ("FAILED", "builtins.TypeError")
    async with Queue(site.url, name="shop") as queue:
        letters = await queue.dead_letters.list()
        assert {letter.task.rpartition(".")[2] for letter in letters} == {
            "fails",
            "fails_async",
            "returns_no_json",
        }


async def check_retries(site: Site) -> None:
    """An attempt knows those before it, and the result has the errors of all."""
    for task in ("third_time", "third_time_async"):
        found = await site.run(task, 3)
        assert found["return_value"] == ["builtins.KeyError"] * 2
        assert (found["attempts"], len(found["errors"])) == (3, 2)
        assert found["started_at"] < found["last_attempted_at"]
        given_up = await site.run(task, 4)
        assert (given_up["status"], given_up["attempts"]) == ("FAILED", 3)
        assert [path for path, _ in given_up["errors"]] == ["builtins.KeyError"] * 3


async def check_context(site: Site) -> None:
    """A task that takes the context gets its result, which is running."""
    found = await site.run("shows", "k")
    assert found["return_value"] == {
        "id": found["id"],
        "attempt": 1,
        "key": "k",
        "args": ["k"],
        "status": "RUNNING",
    }


async def check_tasks_that_enqueue(site: Site) -> None:
    """A task can enqueue others, in a thread and on the event loop of its worker."""
    for task in ("chains", "chains_async"):
        found = await site.run(task, 4, 5)
        child = await site.ended({"id": found["return_value"], "backend": "default", "task": "add"})
        assert child["return_value"] == 9


async def check_models(site: Site) -> None:
    """Both kinds of tasks use the models, and a thread keeps no connection for its next task."""
    assert (await site.run("ship_async", "tea"))["return_value"] is True
    enqueued = [await site.enqueue("has_fresh_connection") for _ in range(20)]
    assert all([(await site.ended(one))["return_value"] for one in enqueued])


async def check_commits(site: Site) -> None:
    """With `on_commit`, a task starts after the commit, and never after a rollback."""
    for door in DOORS[:2]:
        made = (await site.client.post(f"{door}/orders", json={"item": "tea"})).json()
        assert made["enqueued_before_commit"] is False
        shipping = {"id": made["id"], "backend": "after_commit", "task": "ship"}
        assert (await site.ended(shipping))["return_value"] == "tea"
        answer = await site.client.post(f"{door}/orders", json={"item": "tea", "fails": True})
        assert answer.json()["rolled_back"]
        path = f"/results/{answer.json()['id']}?backend=after_commit"
        assert (await site.client.get(path)).status_code == 404
    # Without a transaction it is enqueued at once.
    assert (await site.enqueue("ship", 1))["enqueued_at"]


async def check_tasks_in_other_modules(site: Site) -> None:
    """A task that no `tasks` module has is imported when its first job comes."""
    assert (await site.run("elsewhere", "up"))["return_value"] == "UP"


async def check_ends_without_an_exception(site: Site) -> None:
    """A job that was cancelled has FAILED; an unknown id has no result."""
    far = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    later = await site.enqueue("add", 1, 2, using={"run_after": far})
    async with Queue(site.url, name="shop") as queue:
        assert await queue.job(later["id"]).cancel() is JobState.DELAYED
    found = await site.result(later["id"])
    assert (found["status"], found["task"]) == ("FAILED", later["task"])
    assert found["errors"][0][0] == "aiostreamq.errors.JobCancelled"
    for door in DOORS[:2]:
        assert (await site.client.get(f"{door}/results/unknown")).status_code == 404


async def check_signals(site: Site) -> None:
    """Each step sends its signal with the result as it is then."""
    for task in ("counted", "counted_async", "fails"):
        found = await site.run(task, "x")
        end = "FAILED" if task == "fails" else "SUCCESSFUL"
        seen = "from tests.frameworks.django_project.shop.models import Seen; print(list("
        seen += f"Seen.objects.filter(result_id={found['id']!r}).order_by('pk')"
        seen += ".values_list('signal', 'status')))"
        expected = [("enqueued", "READY"), ("started", "RUNNING"), ("finished", end)]
        printed = manage("shell", "-v0", "-c", seen, url=site.url).strip()
        # The worker may be quicker than the receiver in the server.
        assert sorted(eval(printed)) == sorted(expected)


CHECKS: tuple[Callable[[Site], Awaitable[None]], ...] = (
    check_calls_from_each_door,
    check_options_of_a_call,
    check_run_after,
    check_failures,
    check_retries,
    check_context,
    check_tasks_that_enqueue,
    check_models,
    check_commits,
    check_tasks_in_other_modules,
    check_ends_without_an_exception,
    check_signals,
)


@pytest.mark.parametrize("site", SERVERS, indirect=True)
async def test_project(site: Site) -> None:
    """All that Django's documentation promises of a backend, with one server and its workers."""
    for check in CHECKS:
        await check(site)


async def test_results_survive_the_server(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks that wait for a worker are READY, and survive a restart of the server."""
    project_environment(tmp_path, monkeypatch)
    async with site_on("gunicorn", redis_url) as site:
        enqueued = await site.enqueue("add", 1, 2)
        assert (await site.result(enqueued["id"]))["status"] == "READY"
    async with (
        site_on("uvicorn", redis_url) as site,
        worker("aiostreamq.contrib.django.worker:queue", url=redis_url),
    ):
        assert (await site.ended(enqueued))["return_value"] == 3


EXAMPLE = ROOT / "examples" / "django_shop"


def test_documentation_shows_the_example() -> None:
    """The code on the page about Django is that of the example, which runs below."""
    shown = list(blocks_of((ROOT / "docs" / "how-to" / "django.md").read_text()))
    files = [block for block in shown if block.language == "python"]
    assert len(files) == 3
    for block in files:
        assert block.file is not None
        text = (EXAMPLE / "shop" / block.file).read_text()
        assert block.text.partition("\n")[2].strip() in text


async def test_example(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example works under gunicorn, with the worker that its page starts."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop.settings")
    port = free_port()
    command = ("gunicorn", "--bind", f"127.0.0.1:{port}", "--no-control-socket", "shop.wsgi")
    async with (
        running("-m", *command, url=redis_url, until="Booting worker", cwd=EXAMPLE),
        worker("aiostreamq.contrib.django.worker:queue", url=redis_url, cwd=EXAMPLE),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        for answer, value in (
            (await client.post("/pay", data={"address": "a@b.c", "cents": 150}), "a@b.c paid 1.50"),
            (await client.get("/customers/a@b.c"), 5),
        ):
            path = f"/status/{answer.json()['id']}"

            async def is_done(path: str = path, value: object = value) -> bool:
                found = (await client.get(path)).json()
                return found == {"status": "SUCCESSFUL", "value": value}

            await wait_until(is_done, f"{path} to show {value}")
