"""The page about the rights of Redis users, beside the code."""

import re

import pytest

from tests.support.redis_rights import (
    FUNCTIONS_OF,
    OPTIONAL,
    PAGE,
    SCRIPTS_OF,
    all_commands,
    commands_of,
    rule_on_page,
)


@pytest.mark.parametrize("role", SCRIPTS_OF)
def test_each_rule_is_what_the_code_needs(role: str) -> None:
    """None lacks a command that is sent, and none has one that is not."""
    granted = {word[1:] for word in rule_on_page(role) if word.startswith("+")}
    assert granted == commands_of(role)


def test_every_command_is_in_a_rule() -> None:
    """A command that is sent anywhere is in one of the rules, or in the table of what may be added.

    Whoever adds a script or a function that sends one says in `redis_rights` who needs it.
    """
    granted = set[str]().union(*map(commands_of, SCRIPTS_OF))
    assert all_commands() - granted == OPTIONAL
    assert FUNCTIONS_OF.keys() == SCRIPTS_OF.keys()
    table = re.findall(r"^\| `\+(\S+)` \|", PAGE.read_text(), flags=re.MULTILINE)
    assert {name.replace("\\|", "|") for name in table} >= OPTIONAL
