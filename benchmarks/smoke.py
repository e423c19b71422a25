"""Ask every question of the floor with few jobs: do the measurements work at all?

Needs no peer and takes half a minute. Its figures mean nothing.
"""

from benchmarks.all import QUESTIONS
from benchmarks.contestants import FLOOR
from benchmarks.report import Report, render
from benchmarks.rounds import Options, answer

OPTIONS = Options(rounds=1, only=(FLOOR.name,), python=None, jobs=500, json=None)

#: One watches for 20 s whatever the number of jobs, the others are not for the floor.
LEFT_OUT = ("idle", "delayed", "due", "stream", "lanes", "cancels")


def main() -> None:
    """Run the questions and complain about any that gave no answer."""
    for question in QUESTIONS:
        if question.name not in LEFT_OUT:
            report = answer(question, OPTIONS)
            check(report)
            print(render(report), end="\n\n")


def check(report: Report) -> None:
    """Raise unless the floor has a figure in every column."""
    [sample] = report["samples"][FLOOR.name]
    missing = [column["name"] for column in report["metrics"] if sample[column["name"]] is None]
    if missing:
        raise SystemExit(f"{report['question']} has no {', '.join(missing)}")


if __name__ == "__main__":
    main()
