"""The end of each help: examples of the command, and the exit codes."""

EXIT_CODES = """\
exit codes:
  0    done; for run, an orderly end
  1    Redis cannot be used, or the answer is no: no such job, a problem found, a crash loop
  2    wrong usage; nothing was changed
  -15  run was ended by SIGTERM while it imported your code (143 in a shell)"""

#: Lines by command. A test parses each of them.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "aiostreamq run app:queue --concurrency 50",
        "aiostreamq info --queue mail --url redis://localhost:6379",
        "aiostreamq jobs ls app:queue --state failed --since 1h",
    ),
    "run": (
        "aiostreamq run app:queue",
        "aiostreamq run app:queue --import app.tasks --workers 4 --max-rss 512mb",
        "aiostreamq run app:orders app:mail --concurrency 50",
        "aiostreamq run app:queue --reload --log-level debug",
    ),
    "dev": ("aiostreamq dev app:queue", "aiostreamq dev app:queue --redis-port 6400 --port 9000"),
    "info": ("aiostreamq info app:queue --watch", "aiostreamq info --queue mail --json"),
    "top": ("aiostreamq top app:queue", "aiostreamq top --queue mail --read-only"),
    "jobs": ("aiostreamq jobs ls app:queue", "aiostreamq jobs show --queue mail JOB"),
    "jobs ls": (
        "aiostreamq jobs ls app:queue --state failed --state dead --since 1h",
        "aiostreamq jobs ls --queue mail --task send --json",
    ),
    "jobs show": ("aiostreamq jobs show app:queue JOB", "aiostreamq jobs show --queue mail JOB"),
    "jobs result": ("aiostreamq jobs result app:queue JOB --wait 30s",),
    "jobs cancel": (
        "aiostreamq jobs cancel app:queue JOB JOB",
        "aiostreamq jobs cancel --queue mail --task send --state queued --older-than 1h",
    ),
    "workers": ("aiostreamq workers app:queue", "aiostreamq workers --queue mail --json"),
    "enqueue": (
        "aiostreamq enqueue app:queue send --args '[\"ada@example.com\"]'",
        "aiostreamq enqueue --queue mail send --kwargs '{\"to\": 7}' --delay 10m",
    ),
    "pause": (
        "aiostreamq pause app:queue --task send --until 30m",
        "aiostreamq pause --queue mail --lane bulk",
        "aiostreamq pause --queue mail",
    ),
    "resume": ("aiostreamq resume app:queue --task send",),
    "limits": ("aiostreamq limits ls app:queue",),
    "limits ls": ("aiostreamq limits ls --queue mail --json",),
    "limits show": ("aiostreamq limits show app:queue send.tenant:acme",),
    "limits set": (
        "aiostreamq limits set app:queue send.tenant:acme --concurrency 10",
        "aiostreamq limits set --queue mail 'send.tenant:*' --rate 100/m --burst 20",
    ),
    "limits clear": ("aiostreamq limits clear app:queue send.tenant:acme",),
    "limits end-quiet": ("aiostreamq limits end-quiet app:queue api",),
    "limits explain": ("aiostreamq limits explain app:queue send --args '[\"acme\", 1]'",),
    "schedules": ("aiostreamq schedules ls app:queue",),
    "schedules ls": ("aiostreamq schedules ls --queue mail --json",),
    "schedules show": ("aiostreamq schedules show app:queue nightly",),
    "schedules explain": (
        "aiostreamq schedules explain app:queue nightly",
        "aiostreamq schedules explain --cron '0 9 * * mon-fri' --tz Europe/Madrid",
    ),
    "schedules create": (
        "aiostreamq schedules create app:queue nightly report --cron '30 2 * * *'",
        "aiostreamq schedules create --queue mail poll fetch --every 30s --overlap skip",
    ),
    "schedules trigger": ("aiostreamq schedules trigger app:queue nightly",),
    "schedules pause": ("aiostreamq schedules pause app:queue nightly",),
    "schedules resume": ("aiostreamq schedules resume app:queue nightly",),
    "schedules rm": ("aiostreamq schedules rm --queue mail nightly",),
    "dead-letters": ("aiostreamq dead-letters ls app:queue",),
    "dead-letters ls": (
        "aiostreamq dead-letters ls app:queue --task send --newer-than 2h",
        "aiostreamq dead-letters ls --queue mail --error TimeoutError --json",
    ),
    "dead-letters show": ("aiostreamq dead-letters show app:queue 1764000000123-0",),
    "dead-letters replay": (
        "aiostreamq dead-letters replay app:queue 1764000000123-0 --edit",
        "aiostreamq dead-letters replay --queue mail --task send --rate 50",
    ),
    "dead-letters purge": ("aiostreamq dead-letters purge app:queue --older-than 7d",),
    "doctor": ("aiostreamq doctor app:queue", "aiostreamq doctor --queue mail --json"),
    "dashboard": (
        "aiostreamq dashboard redis://localhost:6379",
        "aiostreamq dashboard app:queue --write --port 9000",
    ),
    "completion": (
        'eval "$(aiostreamq completion bash)"',
        "aiostreamq completion zsh > ~/.zfunc/_aiostreamq",
        "aiostreamq completion fish > ~/.config/fish/completions/aiostreamq.fish",
    ),
}


def epilog_of(prog: str) -> str:
    """Return the end of the help of a command, such as "aiostreamq jobs ls"."""
    command = prog.removeprefix("aiostreamq").strip()
    lines = [f"  {line}" for line in EXAMPLES[command]]
    return "\n".join(["examples:", *lines, *([] if command else ["", EXIT_CODES])])
