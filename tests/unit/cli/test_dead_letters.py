"""Dead letters on a terminal."""

import json

import pytest

from aiostreamq.cli.format.dead_letters import HEADS, as_json, as_page, as_row
from aiostreamq.cli.output import print_table
from aiostreamq.model.dead_letters import parse_letter
from aiostreamq.model.job_state import JobState
from aiostreamq.model.outcome import Failure, encode_ended

EVIL = "\x1b[2J\r\nsecond"
OUTCOME = encode_ended("size", 1, JobState.FAILED, Failure("Odd", EVIL, f"one\n{EVIL}"))
HEADER = [b"outcome", OUTCOME, b"worker", EVIL.encode(), b"stream", b"s", b"entry", b"1000-0"]

JOB = parse_letter(
    b"1000-0", [*HEADER, b"id", b"j", b"n", b"12", b"job", b'{"task":"size"}', b"d", b"w1@5"]
)
STRANGER = parse_letter(b"1001-0", [*HEADER, b"\xffname\x07", b"\x00" + "ü".encode()])


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Every letter is one line, its columns under their heads."""
    print_table(HEADS, [as_row(JOB), as_row(STRANGER)])
    head, first, second = capsys.readouterr().out.splitlines()
    assert head == "LETTER  DIED (UTC)           TASK  STATE   RUNS  JOB  ERROR"
    assert first == (
        r"1000-0  1970-01-01 00:00:01  size  failed  12    j    Odd: \x1b[2J\r\nsecond"
    )
    assert second.startswith("1001-0  1970-01-01 00:00:01  size  failed  0     -    Odd")


def test_page_of_a_job() -> None:
    """Nothing in it can steer the terminal; the traceback keeps its lines."""
    page = as_page(JOB)
    assert all(line.isprintable() for line in page.split("\n"))
    assert "deliveries  12" in page
    assert "deaths      w1" in page
    assert page.endswith("\n\none\n\\x1b[2J\nsecond")


def test_page_of_what_is_no_job() -> None:
    """Its fields are shown as far as they can be."""
    page = as_page(STRANGER)
    assert all(line.isprintable() for line in page.split("\n"))
    assert "fields\n  \\\\xffname\\x07: \\x00ü" in page
    assert "deliveries" not in page


def test_json() -> None:
    """One line of ASCII, from which everything can be read."""
    for letter in (JOB, STRANGER):
        line = as_json(letter)
        assert line.isascii()
        assert line.isprintable()
        told = json.loads(line)
        assert (told["id"], told["message"]) == (letter.id, EVIL)
    assert told["fields"] == [["\\xffname\x07", "\x00ü"]]


def test_call_that_cannot_be_read() -> None:
    """It is shown as it is."""
    letter = parse_letter(b"1-0", [*HEADER, b"id", b"j", b"n", b"1", b"job", b"\xffno\x07"])
    assert "call        \\\\xffno\\x07" in as_page(letter)
    assert json.loads(as_json(letter))["call"] == "\\xffno\x07"
    assert "call" not in as_page(JOB)
    assert json.loads(as_json(JOB))["call"] is None
