"""Make the diagram and the table of docs/explanation/job-states.md from the table in the code.

    python -m tests.docs.job_states

writes them into the page.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from aiostreamq.model.job_transitions import ENDED, TRANSITIONS, Stage

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "job-states.md"

# All that stands between the two comments is made.
MADE = re.compile(r"(?<=<!-- made: {name} -->\n).*?(?=<!-- end -->)", re.DOTALL)


def diagram() -> str:
    """Return the diagram, with one node for all ends and one arrow between two nodes."""
    steps: dict[tuple[str, str], list[str]] = {}
    for before, step, after in TRANSITIONS:
        known = steps.setdefault((_node(before), _node(after)), [])
        if step not in known:
            known.append(step)
    arrows = [f"    {a} --> {b}: {', '.join(names)}" for (a, b), names in steps.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *arrows, "```", ""])


def table() -> str:
    """Return the table, with one row for each stage and step."""
    rows: dict[tuple[Stage, str], list[Stage]] = {}
    for before, step, after in TRANSITIONS:
        rows.setdefault((before, step), []).append(after)
    lines = [
        f"| `{before}` | `{step}` | {', '.join(f'`{stage}`' for stage in after)} |"
        for (before, step), after in rows.items()
    ]
    return "\n".join(["| From | Step | To |", "| --- | --- | --- |", *lines, ""])


def parts() -> Iterator[tuple[re.Pattern[str], str]]:
    """Yield where each part of the page is, and what it should be."""
    for name, text in (("diagram", diagram()), ("table", table())):
        yield re.compile(MADE.pattern.replace("{name}", name), re.DOTALL), text


def _node(stage: Stage) -> str:
    if stage is Stage.UNKNOWN:
        return "[*]"
    return "ended" if stage in ENDED else stage.value


if __name__ == "__main__":
    page = PAGE.read_text()
    for place, text in parts():
        page = place.sub(lambda _, text=text: text, page, count=1)
    PAGE.write_text(page)
