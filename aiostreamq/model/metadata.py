"""The metadata of a job: what travels with it beside its arguments."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, cast

from aiostreamq.errors import UsageError
from aiostreamq.model.callbacks import NO_CALLBACKS, Callbacks, read_callbacks

# Bytes of names and values: as much as most HTTP servers take. All listings read them.
MOST_HEADER_BYTES = 8192

LONGEST_NAME = 128

# Tags of one job.
MOST_TAGS = 32

#: Shared by all jobs that have none, so nothing may write to it.
NO_HEADERS: Mapping[str, str] = {}
NO_VALUES: Mapping[str, object] = {}

_FIELDS = {"headers", "tags", "carried", "on_success", "on_failure", "parent", "key"}


class HeldKey(NamedTuple):
    """The key that a job holds, as its envelope names it."""

    digest: str
    is_freed_at_start: bool  #: whether the worker frees it before the first run, not after the end

    @property
    def until(self) -> str:
        """Until when the job holds it: "done" or "started"."""
        return "started" if self.is_freed_at_start else "done"


def key_in(call: Mapping[str, object]) -> HeldKey | None:
    """Return the key that a job holds, from the fields of its envelope."""
    held = call.get("key")
    # A form that is not known is ignored: the key is found free when the job has ended.
    until, _, digest = held.partition(":") if isinstance(held, str) else ("", "", "")
    return HeldKey(digest, until == "started") if until in ("done", "started") else None


class Metadata(NamedTuple):
    """The part of an envelope beside the call and its options."""

    headers: Mapping[str, str] = NO_HEADERS
    tags: tuple[str, ...] = ()
    carried: Mapping[str, object] = NO_VALUES  #: the values of context variables, by name
    callbacks: Callbacks = NO_CALLBACKS  #: the jobs for the end of this one
    parent: str | None = None  #: id of the job whose end this one is for
    key: HeldKey | None = None  #: the key that the job holds


def joined_headers(earlier: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the headers *earlier* and *given*; if both have a name, the given one counts.

    Raises:
        UsageError: A given name or value is invalid, or all together are too long.
    """
    if not isinstance(given, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # unchecked callers
        raise UsageError(
            f"headers must be a mapping of str to str, got {given!r}: use headers={{'tenant': '7'}}"
        )
    for name, value in given.items():
        _check_header(name, value)
    joined = {**earlier, **given}
    size = sum(len(name.encode()) + len(value.encode()) for name, value in joined.items())
    if size > MOST_HEADER_BYTES:
        raise UsageError(
            f"headers of {size:,} bytes are over the limit of {MOST_HEADER_BYTES:,}, those "
            f"that the job inherits included: send long values as arguments"
        )
    return joined


def _check_header(name: object, value: object) -> None:
    if not (isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and _is_plain(name)):
        raise UsageError(
            f"header name {name!r} is invalid: use a string of 1 to {LONGEST_NAME} printable "
            f"characters without spaces"
        )
    if not isinstance(value, str):
        raise UsageError(f"header {name!r} must be a str, got {value!r}: use str(...)")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"header {name!r} has a lone surrogate, which UTF-8 does not have"
        ) from None


def checked_tags(given: Sequence[str]) -> tuple[str, ...]:
    """Return the tags of a job, each once.

    Raises:
        UsageError: One is invalid, or there are too many.
    """
    if isinstance(given, str) or not isinstance(given, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]  # unchecked callers
        raise UsageError(f"tags must be a list of str, got {given!r}: use tags=['import']")
    for tag in given:
        if not (isinstance(tag, str) and 0 < len(tag) <= LONGEST_NAME and _is_plain(tag)):  # pyright: ignore[reportUnnecessaryIsInstance]  # unchecked callers
            raise UsageError(
                f"tag {tag!r} is invalid: use a string of 1 to {LONGEST_NAME} printable "
                f"characters without spaces"
            )
    tags = tuple(dict.fromkeys(given))
    if len(tags) > MOST_TAGS:
        raise UsageError(f"{len(tags)} tags are over the limit of {MOST_TAGS} for a job")
    return tags


class HasMetadata(Protocol):
    """A job that is shown."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers."""
        ...

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags."""
        ...


class MetadataFilter(NamedTuple):
    """Selects jobs by a tag and by a header."""

    tag: str | None = None
    header: tuple[str, str] | None = None

    @classmethod
    def of(cls, tag: str | None, header: tuple[str, str] | None) -> "MetadataFilter":
        """Return the filter that a caller gives.

        Raises:
            UsageError: The tag is not a str, or the header not a name and a value.
        """
        if tag is not None and not isinstance(tag, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # unchecked callers
            raise UsageError(f"tag={tag!r} is invalid: give one tag, as a str")
        is_pair = isinstance(header, tuple) and len(header) == 2
        if header is not None and not (is_pair and {*map(type, header)} == {str}):
            raise UsageError(
                f"header={header!r} is invalid: give a name and a value, as in ('tenant', 'acme')"
            )
        return cls(tag, header)

    @property
    def is_open(self) -> bool:
        """Whether every job matches."""
        return self.tag is None and self.header is None

    def matches(self, job: HasMetadata) -> bool:
        """Whether *job* matches."""
        if self.tag is not None and self.tag not in job.tags:
            return False
        return self.header is None or job.headers.get(self.header[0]) == self.header[1]


def _is_plain(text: str) -> bool:
    return text.isprintable() and " " not in text


def read_metadata(call: Mapping[str, object]) -> Metadata | None:
    """Return the metadata in an envelope; None if it has none.

    Raises:
        ValueError: A field has the wrong type.
    """
    if _FIELDS.isdisjoint(call):
        return None
    headers = _headers(call.get("headers", NO_HEADERS))
    callbacks, key = read_callbacks(call), key_in(call)
    return Metadata(headers, _tags(call), _carried(call), callbacks, _parent(call), key)


def readable_metadata(call: Mapping[str, object]) -> Metadata:
    """Return the metadata in an envelope, to be shown; empty if it has none that can be read."""
    try:
        return read_metadata(call) or Metadata()
    except ValueError:
        return Metadata()


def _headers(found: object) -> Mapping[str, str]:
    if type(found) is not dict or {*map(type, cast("dict[str, object]", found).values())} - {str}:
        raise ValueError("headers is not an object whose values are strings")
    return cast("dict[str, str]", found)


def _tags(call: Mapping[str, object]) -> tuple[str, ...]:
    found = call.get("tags", [])
    if type(found) is not list or {*map(type, cast("list[object]", found))} - {str}:
        raise ValueError("tags is not an array of strings")
    return tuple(cast("list[str]", found))


def _carried(call: Mapping[str, object]) -> Mapping[str, object]:
    found = call.get("carried", NO_VALUES)
    if type(found) is not dict:
        raise ValueError("carried is not an object")
    return cast("dict[str, object]", found)


def _parent(call: Mapping[str, object]) -> str | None:
    found = call.get("parent")
    if found is not None and type(found) is not str:
        raise ValueError("parent is not a string")
    return found
