"""Values as HTML: any JSON is shown, none becomes markup, and none makes a page huge."""

import re
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from aiostreamq import JobState
from aiostreamq.model.info import Latency, MinuteInfo
from aiostreamq.model.values.masking import MASK
from aiostreamq.web.charts import ends_chart, latency_chart, share_bar
from aiostreamq.web.rendering import number, seconds
from aiostreamq.web.secret_names import is_secret_name, text_without_secrets, without_secrets
from aiostreamq.web.values import as_html, as_line

TEXTS = st.text() | st.sampled_from(["<b>", "&amp;", '"><script>', "{{ x }}", "\x00", "'"])
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)

#: The elements that values are made of.
ELEMENTS = {"span", "details", "summary", "ul", "li"}


@given(JSON)
def test_any_json_is_shown_as_text(value: object) -> None:
    """The only elements are those of the page, and each is closed."""
    written = as_html(without_secrets(value))
    assert isinstance(written, Markup)
    found = re.findall(r"<(/?)(\w+)", written)
    assert {name for _, name in found} <= ELEMENTS
    for name in ELEMENTS:
        assert found.count(("", name)) == found.count(("/", name))
    assert len(as_line(value, 50)) <= 51


def test_numbers_are_exact() -> None:
    """A number is not rounded to what a browser can count to."""
    assert str(2**63 + 1) in as_html({"id": 2**63 + 1})


def test_huge_values_are_cut() -> None:
    """A value of a megabyte or of a million parts makes a page of bounded size."""
    wide = as_html([*range(100_000)])
    assert "and 99,800 more" in wide or "and 99800 more" in wide
    long = as_html("x" * 1_000_000)
    assert "980,000 more characters" in long
    deep: object = "x"
    for _ in range(10_000):
        deep = [deep]
    tree = as_html({"deep": deep})
    square = as_html([[*range(150)] for _ in range(150)])
    assert max(map(len, (wide, long, tree, square))) < 300_000
    assert without_secrets(deep)


def test_long_values_are_folded() -> None:
    """Short ones are open, long ones are closed."""
    assert '<details class="v-block" open>' in as_html([1])
    assert '<details class="v-block">' in as_html([*range(20)])
    assert "<details" in as_html("x" * 1000)
    assert "<details" not in as_html("x")


def test_secret_names() -> None:
    """Names of secrets are known in any spelling, and no others."""
    secret = "password db_password PASSWORD apiKey api_key X-Api-Key authorization token"
    secret += " access_token refreshToken Set-Cookie client_secret session-id private_key user.pwd"
    for name in secret.split():
        assert is_secret_name(name), name
    for name in [
        "order",
        "card",
        "to",
        "subject",
        "text",
        "passenger",
        "tokenizer",
        "secretary",
        "author",
        "keyboard",
    ]:
        assert not is_secret_name(name), name


def test_secrets_in_text() -> None:
    """A name and a value in a message, and a password in a URL, are masked."""
    for text in (
        "password=hunter22 x",
        "x 'api_key': 'hunter22', y",
        '{"token": "hunter22"}',
        "Authorization: Bearer hunter22hunter22",
        "redis://user:hunter22@host/0",
        "https://:hunter22@host",
    ):
        masked = text_without_secrets(text)
        assert "hunter22" not in masked
        assert MASK in masked
    assert text_without_secrets("the order 7 was refused: no money") == (
        "the order 7 was refused: no money"
    )


def test_charts_have_an_end() -> None:
    """No minutes, empty minutes and huge numbers are drawn too."""
    at, latency = datetime(2026, 12, 1, tzinfo=UTC), Latency(10**9, 0.1, 5.0, 1e9)
    empty = MinuteInfo(at, {}, None, None)
    full = MinuteInfo(at, {JobState.DONE: 10**12, JobState.EXPIRED: 1}, latency, latency)
    for minutes in ([], [empty] * 3, [empty, full, empty], [full] * 180):
        assert ends_chart(minutes).count("<svg") == 1
        assert "nan" not in ends_chart(minutes)
        drawn = latency_chart([minute.run_latency for minute in minutes])
        assert "nan" not in drawn
        assert "inf" not in drawn
    assert 'width="0.0"' in share_bar(-1)
    assert 'width="100.0"' in share_bar(7)


@given(st.floats(0, 1e9))
def test_durations_are_short(span: float) -> None:
    """A duration has a few characters, whatever its size."""
    assert 0 < len(seconds(span)) <= 12
    assert number(span)
