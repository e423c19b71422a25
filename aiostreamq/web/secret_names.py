"""Secrets by their names: values that are masked because of what they are called.

Secrets that a task declares are masked before they come here. This is for all others: an argument
called `password`, or a token in the text of an error.
"""

import re
from collections.abc import Mapping
from typing import cast

from aiostreamq.model.values.masking import MASK

_NAMES = (
    r"pass(?:word|wd|phrase)?|pwd|secrets?|(?:\w+[_-])?tokens?|api[_-]?keys?|access[_-]?keys?|"
    r"private[_-]?keys?|client[_-]?secret|authorization|(?:set[_-])?cookies?|credentials?|"
    r"session[_-]?id|dsn|card[_-]?number|cvv|cvc|iban|ssn"
)
_NAME = re.compile(rf"(?:.*[_.-])?(?:{_NAMES})", re.IGNORECASE)

# Between the parts of a name like refreshToken.
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

# A name and its value in text, as in "token=abc" or '"password": "x"'; and a password in a URL.
_IN_TEXT = re.compile(
    rf"""(\b(?:\w+[_-])?(?:{_NAMES})["']?\s*[=:]\s*)("[^"\n]*"|'[^'\n]*'|[^\s,;&)}}\]"']+)""",
    re.IGNORECASE,
)
_IN_BEARER = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE)
_IN_URL = re.compile(r"(\w+://[^\s/:@]*:)[^\s/@]+(@)")

# Levels of lists and objects that are looked into; deeper ones are shown as they are not at all.
_DEEPEST = 50


def is_secret_name(name: str) -> bool:
    """Return whether a value of this name is masked.

    >>> is_secret_name("db_password"), is_secret_name("X-Api-Key"), is_secret_name("passenger")
    (True, True, False)
    """
    return _NAME.fullmatch(_HUMP.sub("_", name)) is not None


def without_secrets(value: object, depth: int = 0) -> object:
    """Return plain JSON with the values of secret names masked.

    >>> without_secrets({"user": "ada", "login": {"token": "abc"}})
    {'user': 'ada', 'login': {'token': '**********'}}
    """
    if depth > _DEEPEST:
        return MASK
    if isinstance(value, Mapping):
        return {
            name: MASK
            if is_secret_name(name) and one not in (None, "")
            else without_secrets(one, depth + 1)
            for name, one in cast("Mapping[str, object]", value).items()
        }
    if isinstance(value, list):
        return [without_secrets(one, depth + 1) for one in cast("list[object]", value)]
    return text_without_secrets(value) if isinstance(value, str) else value


def text_without_secrets(text: str) -> str:
    """Return text with secrets masked that have a name in it, or are in a URL.

    >>> text_without_secrets("token=abc redis://:hunter2@db")
    'token=********** redis://:**********@db'
    """
    text = _IN_URL.sub(rf"\1{MASK}\2", text)
    text = _IN_BEARER.sub(rf"\1 {MASK}", text)
    return _IN_TEXT.sub(rf"\1{MASK}", text)
