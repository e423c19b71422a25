"""Who takes part: the floor, aiostreamq, and the peers at their best."""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Contestant:
    """One library, where its adapter is and how to see that its work is done."""

    name: str
    #: The adapter, run with ``python -m`` inside the contestant's environment.
    module: str
    requirements: Path
    #: The distributions whose versions belong beside its figures.
    distributions: tuple[str, ...]
    #: Keys that hold a result. Once such a key has a time to live, its job is
    #: settled; that is how a drain is seen to be complete.
    results: str
    is_peer: bool = True
    oldest_python: tuple[int, int] = (3, 11)
    #: Whether it talks to Redis by scripts and blocking reads alone, so that its
    #: round trips can be counted by command name.
    is_scripted: bool = False


def _peer(
    name: str, distributions: tuple[str, ...], results: str, oldest: tuple[int, int] = (3, 11)
) -> Contestant:
    return Contestant(
        name=name,
        module=f"benchmarks.peers.{name}_adapter",
        requirements=HERE / "peers" / "requirements" / f"{name}.txt",
        distributions=distributions,
        results=results,
        oldest_python=oldest,
    )


FLOOR = Contestant(
    name="floor",
    module="benchmarks.floor",
    requirements=HERE / "requirements" / "floor.txt",
    distributions=("redis", "hiredis", "uvloop", "orjson"),
    results="floor:result:*",
    is_peer=False,
    is_scripted=True,
)

OURS = Contestant(
    name="aiostreamq",
    module="benchmarks.ours",
    requirements=HERE / "requirements" / "aiostreamq.txt",
    distributions=("aiostreamq", "redis", "hiredis", "uvloop", "orjson"),
    results="*result:*",
    is_peer=False,
    is_scripted=True,
)

PEERS = (
    _peer("ardiq", ("ardiq", "uvloop"), "ardiq:bench:task:results:*", oldest=(3, 12)),
    _peer("saq", ("saq", "redis", "hiredis", "uvloop"), "saq:job:bench:*"),
    _peer("arq", ("arq", "redis", "hiredis", "uvloop"), "arq:result:*"),
    _peer("taskiq", ("taskiq", "taskiq-redis", "redis", "hiredis", "uvloop"), "result:*"),
    _peer("docket", ("pydocket", "redis", "hiredis", "uvloop"), "bench:runs:*"),
    _peer("streaq", ("streaq", "coredis", "hiredis", "uvloop"), "streaq:bench:task:results:*"),
)

ALL = (FLOOR, OURS, *PEERS)
