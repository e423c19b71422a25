"""The error for an unknown option, with advice for names that other queues use."""

from collections.abc import Iterable, Mapping

from aiostreamq.errors import UsageError


def _by_name(advice: Mapping[str, str]) -> dict[str, str]:
    return {name: way for names, way in advice.items() for name in names.split()}


_RUNS = "max_retries retries max_tries tries max_attempts max limit times count"

#: Names of options in other queues, and their equivalents in aiostreamq.
_FOREIGN = {
    "Retry": _by_name(
        {
            _RUNS: "attempts=5, which counts the first run too",
            "delay interval wait countdown pause": "base='10s', or backoff=[1, 5, '1m']",
            "max_delay max_interval max_backoff max_wait retry_backoff_max": "cap='5m'",
            "exceptions exception errors retry_on autoretry_for retry_for": "on=(OSError,)",
            "ignore exclude not_for dont_autoretry_for": "not_on=(ValueError,)",
        }
    ),
    "@queue.task": _by_name(
        {
            f"{_RUNS} attempts on not_on backoff": "retry=Retry(5)",
            "delay countdown at eta id job_id expires deadline": "task.using(...) at each enqueue",
            "queue queue_name priority": "lane='...'",
            "time_limit soft_time_limit job_timeout max_runtime": "timeout='5m'",
            "keep_result result_expires ttl store_results": "result_ttl='1h', or 0 to keep none",
        }
    ),
    "task.using": _by_name(
        {
            f"{_RUNS} attempts on not_on backoff": "retry=Retry(5)",
            "countdown defer_by after": "delay='10s'",
            "eta defer_until run_at scheduled": "at=datetime.now(UTC) + timedelta(hours=1)",
            "job_id task_id key": "id='...'",
            "queue queue_name priority": "lane='...'",
            "time_limit soft_time_limit job_timeout max_runtime": "timeout='5m'",
            "keep_result result_expires ttl store_results": "result_ttl='1h', or 0 to keep none",
        }
    ),
}


def unknown_option(owner: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for an option that *owner* does not have; *known* lists those it has.

    >>> print(unknown_option("Retry", "max_retries", ("attempts", "on")))
    Retry has no option 'max_retries': write attempts=5, which counts the first run too. \
Its options are attempts, on
    """
    from difflib import get_close_matches  # imported only when there is an error

    options = list(known)
    close = get_close_matches(name, options, 1)
    way = _FOREIGN.get(owner, {}).get(name) or (f"{close[0]}=..." if close else None)
    advice = f": write {way}" if way else ""
    return UsageError(
        f"{owner} has no option {name!r}{advice}. Its options are {', '.join(options)}"
    )
