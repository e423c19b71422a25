"""The values of command line options: counts, ports and durations."""

import argparse

import pytest

from aiostreamq import UsageError
from aiostreamq.cli.option_values import add_value, choice, duration, port, rate, text, whole


@pytest.mark.parametrize("written", ["0", "-1", "1.5", "many", ""])
def test_no_count(written: str) -> None:
    """What is no count is refused with the option and what to give."""
    with pytest.raises(
        UsageError, match=rf"^--workers '{written}': give a whole number, 1 or more"
    ):
        whole("--workers", written)


@pytest.mark.parametrize("written", ["-1", "65536", "99999999", "http"])
def test_no_port(written: str) -> None:
    """A port that there cannot be is not taken for another."""
    with pytest.raises(UsageError, match=rf"^--port '{written}': .*, 0 to 65535$"):
        port("--port", written)


def test_ports() -> None:
    """The first, for any that is free, and the last are ports."""
    assert [port("--port", written) for written in ("0", "65535")] == [0, 65535]


@pytest.mark.parametrize(("written", "seconds"), [("2", 2.0), ("0.5", 0.5), ("250ms", 0.25)])
def test_time(written: str, seconds: float) -> None:
    """Times are numbers of seconds, or have a unit."""
    assert duration("--lease", written) == seconds


@pytest.mark.parametrize("written", ["-1", "-5s", "nan", "inf", "soon", ""])
def test_no_time(written: str) -> None:
    """An invalid duration is refused with the option and examples."""
    with pytest.raises(UsageError, match=rf"^--lease '{written}': invalid duration.* as in 10s"):
        duration("--lease", written)


def test_time_too_short() -> None:
    """A time below the least is refused with that."""
    assert duration("--lease", "1s", least=1) == 1
    with pytest.raises(UsageError, match=r"^--lease '999ms' is too short: give 1 s or more$"):
        duration("--lease", "999ms", least=1)


@pytest.mark.parametrize("written", ["0", "-1", "nan", "inf", "fast"])
def test_no_rate(written: str) -> None:
    """Nothing, or no number, per second is refused."""
    with pytest.raises(UsageError, match=rf"^--rate '{written}': give a number per second"):
        rate("--rate", written)


def test_no_choice() -> None:
    """What is not on offer is refused with what is."""
    with pytest.raises(UsageError, match=r"^--loop 'x': give one of a, b$"):
        choice("--loop", "x", ("a", "b"))


def test_default() -> None:
    """A default that was written somewhere is read like what is typed, unless that is there."""
    parser = argparse.ArgumentParser()
    add_value(parser, "--name", text, "", default=None)
    add_value(parser, "--workers", whole, "", default="none")
    assert parser.parse_args(["--workers", "3"]) == argparse.Namespace(name=None, workers=3)
    with pytest.raises(UsageError, match="--workers 'none'"):
        parser.parse_args([])
