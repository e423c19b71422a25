"""Masking the secrets of a call, and putting them back."""

import pytest

from aiostreamq import UsageError
from aiostreamq.model.values.masking import MASK, list_more, mask, masked, unmask

CALL = {"args": [{"key": "k", "n": 1}, ["a", "b"]], "kwargs": {"to/day": "c"}}
SECRETS = ["/args/0/key", "/args/1/1", "/kwargs/to~1day"]


def call(*secrets: object) -> dict[str, object]:
    """Return a call that lists the places of some secrets."""
    args: list[object] = [{"key": "k", "n": 1}, ["a", "b"]]
    return {"args": args, "kwargs": {"to/day": "c"}, "secrets": list(secrets)}


def test_mask() -> None:
    """Each secret is replaced in its place, and nothing else is."""
    parsed = call(*SECRETS)
    mask(parsed)
    assert parsed["args"] == [{"key": MASK, "n": 1}, ["a", MASK]]
    assert parsed["kwargs"] == {"to/day": MASK}


@pytest.mark.parametrize(
    "place",
    [
        "/args/9",
        "/args/x",
        "/args/0/key/deeper",
        "/args/0/n/1",
        "/none/0",
        "",
        "args/0",
        7,
        "/args/01",
    ],
)
def test_places_that_do_not_exist(place: object) -> None:
    """A place that leads nowhere changes nothing."""
    parsed = call(place)
    mask(parsed)
    assert parsed == call(place)


def test_json_that_is_not_an_object() -> None:
    """JSON of any other kind is returned as it is."""
    assert masked(b'["secrets", 1]') == b'["secrets",1]'


def test_unmask() -> None:
    """A secret comes back to its place, unless another value was put there."""
    parsed = call(*SECRETS)
    mask(parsed)
    args = parsed["args"]
    assert isinstance(args, list)
    args[0]["key"] = "new"
    unmask(parsed, call(*SECRETS))
    assert parsed["args"] == [{"key": "new", "n": 1}, ["a", "b"]]


@pytest.mark.parametrize("args", [[MASK], [{"x": MASK}], [["a", MASK]]])
def test_mask_in_another_place(args: list[object]) -> None:
    """A mask in a place without a secret is refused: it stands for nothing."""
    with pytest.raises(UsageError, match="in a place that had no secret"):
        unmask({"args": args, "kwargs": {}}, call(*SECRETS))


def test_more_secrets_are_listed_once() -> None:
    """Places that are listed already are not listed again, and no places change nothing."""
    parsed = call("/args/0/key")
    list_more(parsed, ["/args/0/key", "/args/1/1"])
    assert parsed["secrets"] == ["/args/0/key", "/args/1/1"]
    bare: dict[str, object] = {"args": []}
    list_more(bare, [])
    assert bare == {"args": []}
    list_more(bare, ["/args/0"])
    assert bare["secrets"] == ["/args/0"]


def test_place_below_a_plain_value_is_not_found() -> None:
    """Nothing is masked below a number, and a list has no place that it is too short for."""
    parsed = call("/args/0/n/deep/er", "/args/7/deep")
    mask(parsed)
    assert parsed["args"] == call()["args"]
