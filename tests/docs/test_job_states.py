"""The page about job states, beside the table of transitions in the code."""

import re

from aiostreamq.model.job_transitions import TRANSITIONS, Stage
from aiostreamq.store.scripts import SCRIPTS
from tests.docs.job_states import PAGE, parts


def test_diagram_and_table_are_made_from_the_code() -> None:
    """`python -m tests.docs.job_states` would change nothing."""
    page = PAGE.read_text()
    for place, text in parts():
        assert place.findall(page) == [text]


def test_page_explains_each_stage() -> None:
    """Each has a row that says which state users see."""
    stages = PAGE.read_text().partition("## Transitions")[0]
    rows = re.findall(r"^\| `(\w+)` \| (?:`(\w+)`|none) \| ", stages, re.MULTILINE)
    assert dict(rows) == {stage.value: stage.state or "" for stage in Stage}


def test_each_step_is_a_script_or_a_command() -> None:
    """No row names a step that does not exist."""
    assert {step for _, step, _ in TRANSITIONS} <= {*SCRIPTS, "XREADGROUP", "expiry"}


def test_each_state_can_be_reached_and_left() -> None:
    """A job can come into each stage, and leave it again."""
    assert {after for *_, after in TRANSITIONS} == {before for before, *_ in TRANSITIONS}
    assert {after for *_, after in TRANSITIONS} == set(Stage)
