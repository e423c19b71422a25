"""Reading what a job says."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiostreamq import UsageError
from aiostreamq.model.job_events import (
    Chunk,
    Entry,
    Event,
    Lost,
    Position,
    Progress,
    Restarted,
    encode_chunk,
    encode_progress,
)


def as_it_is(value: object) -> object:
    """Restore nothing."""
    return value


def entry(number: int, first: int, last: int) -> Entry:
    """An entry whose chunks are their own numbers."""
    items = b",".join(encode_chunk(b"%d" % seq) for seq in range(first, last + 1))
    return Entry(number, last, "t", b"[%b]" % items)


def read(position: Position, *entries: Entry) -> list[Event[object]]:
    """Read entries one after the other."""
    return [event for one in entries for event in position.read(one, as_it_is)]


def test_kinds() -> None:
    """Chunks and reports come in their order, each with an id of its own."""
    report = encode_progress(0.5, "half", {"left": 3})
    events = b"[%b,%b,%b]" % (encode_chunk(b"[1]"), report, encode_chunk(b"null"))
    told = read(Position(), Entry(1, 3, "t", events))
    assert told == [
        Chunk("1-1", [1]),
        Progress("1-2", 0.5, "half", {"left": 3}),
        Chunk("1-3", None),
    ]
    assert [event.kind for event in told] == ["chunk", "progress", "chunk"]


def test_what_is_not_known_here_is_left_out() -> None:
    """Events of a later version, and what a stranger has written, stop nobody."""
    news = orjson.dumps([{"kind": "news"}, {"kind": "progress"}, 7, [1]])
    assert read(Position(), Entry(1, 4, "t", news)) == [Chunk("1-4", 1)]
    assert read(Position("1-4"), Entry(1, 5, "t", b"{no"), entry(1, 6, 6))[-1] == Chunk("1-6", 6)


def test_another_delivery() -> None:
    """It is told once, before the first of its events."""
    position = Position()
    told = read(position, entry(1, 1, 2), entry(2, 1, 1), entry(2, 2, 2))
    assert told == [
        Chunk("1-1", 1),
        Chunk("1-2", 2),
        Restarted("2-0", 2),
        Chunk("2-1", 1),
        Chunk("2-2", 2),
    ]
    assert read(Position("2-0"), entry(2, 1, 1)) == [Chunk("2-1", 1)], "not again"


def test_late_reader() -> None:
    """Who begins late learns how much is gone, and nothing of runs that left nothing."""
    assert read(Position(), entry(2, 4, 4)) == [Lost("2-3", 3), Chunk("2-4", 4)]


@pytest.mark.parametrize("wrong", ["", "1", "1-", "a-b", "1-2-3", "-1-2", "1-2 ", "9" * 20 + "-1"])
def test_no_id(wrong: str) -> None:
    """What comes from outside is refused where it is no id."""
    with pytest.raises(UsageError, match="is not an event id"):
        Position(wrong)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), float("inf")])
def test_no_fraction(fraction: float) -> None:
    """Progress is between nothing and all."""
    with pytest.raises(UsageError, match="give the fraction"):
        encode_progress(fraction, "", {})


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=20),
    stops=st.sets(st.integers(0, 100)),
    dropped=st.integers(0, 10),
)
def test_whatever_is_cut_where(sizes: list[int], stops: set[int], dropped: int) -> None:
    """Each chunk is read once, and those that are not are told as lost.

    However events were put into entries, wherever a reader stops and goes on behind the
    last id that it saw, and however much was dropped before it began.
    """
    entries: list[Entry] = []
    last = 0
    for size in sizes:
        entries.append(entry(1, last + 1, last + size))
        last += size
    kept = entries[min(dropped, len(entries) - 1) :]
    seen: list[int] = []
    lost = 0
    after: str | None = None
    while True:
        position = Position(after)
        place = (position.number, position.seq)
        events = read(position, *(one for one in kept if one.place > place))
        stopped = False
        for event in events:
            after = event.id
            if isinstance(event, Lost):
                lost += event.count
            elif isinstance(event, Chunk):
                seen.append(int(str(event.value)))
                if event.value in stops:
                    stops.discard(int(str(event.value)))
                    stopped = True
                    break
        if not stopped:
            break
    assert seen == list(range(lost + 1, last + 1))
    assert lost == sum(sizes[: len(entries) - len(kept)])
