"""Answer all questions, keep the figures, put the tables into the README.

``make bench`` runs this. With eight contestants and five rounds it takes about
an hour on two cores; ``--only floor,aiostreamq`` takes a few minutes.
"""

from benchmarks import (
    awaits,
    cancels,
    delayed,
    drain,
    due,
    enqueue,
    idle,
    inflight,
    lanes,
    queued_memory,
    roundtrip,
    stream,
)
from benchmarks.report import render, render_machine
from benchmarks.rounds import Question, answer, chosen, parse_options, write
from benchmarks.tables import RESULTS, fill_readme

QUESTIONS: tuple[Question, ...] = (
    drain.QUESTION,
    enqueue.QUESTION,
    roundtrip.QUESTION,
    inflight.QUESTION,
    queued_memory.QUESTION,
    awaits.QUESTION,
    idle.QUESTION,
    delayed.QUESTION,
    due.QUESTION,
    stream.QUESTION,
    lanes.QUESTION,
    cancels.QUESTION,
)


def main() -> None:
    """Run every question and print each table as soon as it is there."""
    options = parse_options("All questions, results into benchmarks/results/.")
    folder = options.json or RESULTS
    for question in QUESTIONS:
        if not chosen(question, options.only):
            continue
        report = answer(question, options)
        if question is QUESTIONS[0]:
            print(render_machine(report), flush=True)
        print("", render(report), sep="\n", flush=True)
        write(report, folder / f"{question.name}.json")
    if folder == RESULTS:
        fill_readme()


if __name__ == "__main__":
    main()
