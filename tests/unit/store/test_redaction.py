"""No error quotes the password of a URL."""

import traceback
from itertools import product

import pytest

from aiostreamq import AioStreamQError, UsageError
from aiostreamq.store.connection.connector import connector_for, unreachable
from aiostreamq.store.connection.redaction import fault_of, without_passwords

SECRET = "hunter2"

#: What stands in a password that nobody has encoded.
SPECIAL = ["#", "/", "?", "?a=", "?db=", "[", "]", " ", "\n", "%", "@", ":", "\\", "\u2100", "//"]

#: How else a URL with a password goes wrong.
MALFORMED = [
    f"redis://:{SECRET}@",
    f"redis://:{SECRET}@:6379",
    f"redis://:{SECRET}@127.0.0.1:port",
    f"redis://:{SECRET}@127.0.0.1:0",
    f"redis://:{SECRET}@127.0.0.1:99999",
    f"redis://:{SECRET}@127.0.0.1:1/db",
    f"redis://:{SECRET}@127.0.0.1:1/0/1",
    f"redis://:{SECRET}@127.0.0.1:1/0#0",
    f"redis://:{SECRET}@[::1",
    f"redis:/user:{SECRET}@127.0.0.1:1",
    f"redis:user:{SECRET}@127.0.0.1:1",
    f"//user:{SECRET}@127.0.0.1:1",
    f"user:{SECRET}@127.0.0.1:1",
    f"http://user:{SECRET}@127.0.0.1:1",
    f"redis+sentinel://:{SECRET}@127.0.0.1:1,127.0.0.1:2/master",
    f"unix://user:{SECRET}@",
    f"unix://user:{SECRET}/x@/nowhere",
    f"unix://user:{SECRET}@/nowhere#",
    f"redis://127.0.0.1:1?password={SECRET}&db=x",
    f"redis://127.0.0.1:1?password={SECRET}#",
    f"redis://127.0.0.1:x?password={SECRET}",
    f"redis://:{SECRET}:6379",
    f" redis://:{SECRET}@127.0.0.1:1/0",
]

SCATTERED = [
    f"redis://{user}:{before}{special}{after}@127.0.0.1:1/0"
    for user, special, (before, after) in product(
        ("", "me"), SPECIAL, ((SECRET, "x"), ("x", SECRET), (SECRET, "1"))
    )
]


async def error_of(url: str) -> AioStreamQError | None:
    """Return what is told of a queue at *url*, where nothing answers."""
    try:
        await connector_for(url).open_link("test")
    except AioStreamQError as error:
        return error
    return None


async def test_no_password_in_an_error() -> None:
    """Whatever is wrong with a URL: the error, and its traceback in a log, quote none of it."""
    errors = {url: await error_of(url) for url in (*MALFORMED, *SCATTERED)}
    assert [url for url, error in errors.items() if error is None] == []
    logged = {url: "".join(traceback.format_exception(error)) for url, error in errors.items()}
    assert [url for url, text in logged.items() if SECRET in text] == []
    assert [url for url, error in errors.items() if SECRET in repr(error)] == []


@pytest.mark.parametrize("special", ["#", "/", "?", "["])
async def test_the_error_says_what_to_do(special: str) -> None:
    """A password that must be encoded is what is told, not some host that is not found."""
    error = await error_of(f"redis://:{SECRET}{special}x@127.0.0.1:1/0")
    assert isinstance(error, UsageError)
    assert "percent-encode" in str(error)
    assert "%23" in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost:6379/",
        "rediss://user:p%23%2F%3F%40w@cache.internal:6380/15?ssl_cert_reqs=none",
        "redis://:p@ss:word@localhost/0",
        "redis://[::1]:6379/0",
        "redis://localhost?db=3&password=p@ss&username=me",
        "unix:///run/redis.sock",
        "unix:///run/redis@main.sock?db=1&password=x",
        "unix://me:p%23@/run/redis.sock",
    ],
)
def test_what_is_well_formed(url: str) -> None:
    """Nothing is wrong with it."""
    assert fault_of(url) is None


@pytest.mark.parametrize("around", ["{}", "cannot use {!r}: no", "run: error: unrecognized: {}"])
def test_no_password_in_a_text(around: str) -> None:
    """If a URL was typed in the wrong place, it is not repeated."""
    # Nothing shows that others are URLs, and a shell's newline is in no message.
    texts = [
        around.format(url)
        for url in (*MALFORMED, *SCATTERED)
        if not url.startswith(("//", "user:")) and "\n" not in url
    ]
    assert [text for text in texts if SECRET in without_passwords(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "invalid Redis URL: write redis://host:6379/0, rediss://..., unix:///path or memory://",
        "cannot connect to Redis: Error 111 connecting to me@cache:6379",
        "redis://localhost:6379: refused",
        "mail me@here.org",
        "https://docs.example.org/x?y=1",
    ],
)
def test_other_text_stays(text: str) -> None:
    """What holds no password is told as it is."""
    assert without_passwords(text) == text


async def test_an_error_without_words() -> None:
    """The message never ends after the colon."""
    assert str(unreachable(TimeoutError(), 5)).endswith("5 s of this call: no reply in time")
    reset = str(unreachable(ConnectionResetError(), 5))
    assert reset.endswith("5 s of this call: ConnectionResetError")
