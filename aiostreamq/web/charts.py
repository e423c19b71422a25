"""Charts as SVG, drawn by the server: no script is needed, and the page does not move.

Colours come from the style sheet, by class. Widths and heights are in a view box, which the browser
stretches.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from aiostreamq.model.job_state import JobState

if TYPE_CHECKING:
    from aiostreamq.model.info import Latency, MinuteInfo

_WIDTH, _HEIGHT = 600, 120

_BAR = Markup('<rect class="c-{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>')

# The states that a chart shows as failures; the rest that are not done are shown as other ends.
FAILURES = (JobState.FAILED, JobState.TIMED_OUT, JobState.DEAD)


def ends_chart(minutes: "Sequence[MinuteInfo]") -> Markup:
    """Return bars of how many jobs ended in each minute: done, failed and others."""
    parts = [_parts(minute) for minute in minutes]
    most = max((sum(one) for one in parts), default=0) or 1
    step = _WIDTH / max(1, len(minutes))
    bars: list[Markup] = []
    for place, (minute, counts) in enumerate(zip(minutes, parts, strict=True)):
        top = float(_HEIGHT)
        rows: list[Markup] = []
        for kind, count in zip(("done", "failed", "other"), counts, strict=True):
            height = count / most * (_HEIGHT - 4)
            if count:
                height = max(height, 1.5)
            top -= height
            rows.append(_BAR.format(kind, (place + 0.1) * step, top, step * 0.8, height))
        done, failed, other = counts
        title = f"{minute.at:%H:%M} UTC: {done:,} done, {failed:,} failed, {other:,} other"
        hit = Markup('<rect class="c-hit" x="{:.2f}" y="0" width="{:.2f}" height="{}"/>').format(
            place * step, step, _HEIGHT
        )
        bars.append(
            Markup("<g>{}{}<title>{}</title></g>").format(hit, Markup("").join(rows), title)
        )
    label = f"Jobs that ended, by the minute; at most {most:,}"
    return _svg(Markup("").join(bars), label)


def peak_of(minutes: "Sequence[MinuteInfo]") -> int:
    """Return the most jobs that ended in one minute."""
    return max((sum(minute.ended.values()) for minute in minutes), default=0)


def _parts(minute: "MinuteInfo") -> tuple[int, int, int]:
    done = minute.ended.get(JobState.DONE, 0)
    failed = sum(minute.ended.get(state, 0) for state in FAILURES)
    return done, failed, sum(minute.ended.values()) - done - failed


def latency_chart(latencies: "Sequence[Latency | None]") -> Markup:
    """Return two lines, the median and the 95th percentile; minutes without jobs are gaps."""
    most = slowest_of(latencies) or 1.0
    step = _WIDTH / max(1, len(latencies))

    def line(kind: str, values: Sequence[float | None]) -> Markup:
        path, dots, is_down = "", "", False
        for place, value in enumerate(values):
            if value is None:
                is_down = False
                continue
            x, y = (place + 0.5) * step, _HEIGHT - value / most * (_HEIGHT - 8) - 2
            is_alone = not is_down and (place + 1 == len(values) or values[place + 1] is None)
            if is_alone:
                dots += f"M{x:.1f} {y:.1f}h0.1"
            path += f"{'L' if is_down else 'M'}{x:.1f} {y:.1f}"
            is_down = True
        return Markup(
            '<path class="c-line c-{0}" d="{1}"/><path class="c-dot c-{0}" d="{2}"/>'
        ).format(kind, path, dots)

    lines = line("p95", [None if one is None else one.p95 for one in latencies])
    lines += line("p50", [None if one is None else one.p50 for one in latencies])
    return _svg(lines, f"The median and the 95th percentile by the minute; at most {most:.3g} s")


def slowest_of(latencies: "Sequence[Latency | None]") -> float:
    """Return the largest 95th percentile, in seconds."""
    return max((one.p95 for one in latencies if one is not None), default=0.0)


def share_bar(share: float) -> Markup:
    """Return a bar that is filled to a share of 0 to 1."""
    filled = 100 * min(1.0, max(0.0, share))
    return Markup(
        '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="bar-all" width="100" height="6"/>'
        '<rect class="bar-part" width="{:.1f}" height="6"/></svg>'
    ).format(filled)


def _svg(body: Markup, label: str) -> Markup:
    grid = Markup("").join(
        Markup('<path class="c-grid" d="M0 {0}H{1}"/>').format(_HEIGHT * part / 4, _WIDTH)
        for part in range(1, 4)
    )
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'aria-label="{}">{}{}</svg>'
    ).format(_WIDTH, _HEIGHT, label, grid, body)
