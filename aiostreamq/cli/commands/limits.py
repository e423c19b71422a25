"""`aiostreamq limits`: list limits, show one, set and clear rules, explain a call."""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from aiostreamq.cli.call_arguments import add_call_arguments, call_arguments
from aiostreamq.cli.connect import add_import, add_json, add_target, ask, queue_of
from aiostreamq.cli.option_values import add_value, whole
from aiostreamq.cli.output import complain, json_line, print_json, print_listing, say
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.model.limit_reports import LimitInfo, LimitState
    from aiostreamq.model.limits import Limit
    from aiostreamq.queue import Queue


def add_limits(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    """Add the command."""
    limits = add_parser(
        "limits",
        help="list, set and explain limits of tasks",
        description="List the limits of tasks, show one, set rules in place of those of the code, "
        "and explain why a call would wait.",
    )
    actions = limits.add_subparsers(dest="action", metavar="ACTION", required=True)
    ls = actions.add_parser("ls", help="list all limits", description="List all limits.")
    add_target(ls)
    add_json(ls, "an object for each limit")
    show = actions.add_parser(
        "show",
        help="show a limit",
        description="Show the rules of a limit, and which jobs hold it for a value of its key.",
    )
    add_target(show, name="the limit, as in sync.tenant, or with a value: sync.tenant:acme")
    add_json(show, "an object for the concurrency and one for the rate of this name")
    _add_set(actions.add_parser)
    _add_clear(actions.add_parser)
    _add_end_quiet(actions.add_parser)
    explain = actions.add_parser(
        "explain",
        help="say whether a call would start now",
        description="Say whether a job would start now, or what it would wait for. Nothing is "
        "enqueued.",
    )
    add_target(explain, task="the name of the task")
    add_import(explain)
    add_call_arguments(explain)
    explain.add_argument("--lane", help="the lane, instead of the task's own")
    add_json(explain, "an object")


def _add_set(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    setting = add_parser(
        "set",
        help="set the rule of a limit",
        description="Set the rule of a limit in place of that of the code, for all workers, until "
        "it is cleared. With --concurrency 0 no job starts.",
    )
    add_target(setting, name="the limit: sync.tenant:acme for one value, 'sync.tenant:*' for all")
    rule = setting.add_argument_group("the rule")
    most = "how many jobs may run at once"
    add_value(rule, "--concurrency", partial(whole, least=0), most, metavar="N")
    rule.add_argument("--rate", help="how many may start in a time, as in 100/m")
    add_value(rule, "--burst", whole, "with --rate: how many may start at once", metavar="N")
    rule.add_argument("--by", help="who sets it (default: your user and host)")
    add_json(setting, "an object with the version of the rule")


def _add_clear(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    clear = add_parser(
        "clear",
        help="take a rule back",
        description="Take back a rule that was set, so that the next one in line decides.",
    )
    add_target(clear, name="the name that was set")
    clear.add_argument(
        "--kind", choices=("concurrency", "rate"), help="only this kind (default: both)"
    )
    add_json(clear, "an object with was_set")


def _add_end_quiet(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    ending = add_parser(
        "end-quiet",
        help="let a rate pass jobs again",
        description="Let a rate pass jobs again that is quiet because one of them raised "
        "RateLimited.",
    )
    add_target(ending, name="the limit: ask.model:small for one value, 'ask.model:*' for all")
    add_json(ending, "an object with ended, how many were quiet")


def limits(args: argparse.Namespace) -> int:
    """Run an action of `aiostreamq limits` and return the exit code."""
    actions = {
        "ls": _ls,
        "show": _show,
        "set": _set,
        "clear": _clear,
        "end-quiet": _end_quiet,
        "explain": _explain,
    }
    return actions[args.action](queue_of(args), args)


def _ls(queue: "Queue", args: argparse.Namespace) -> int:
    from aiostreamq.cli.format.limits import HEADS, as_row

    print_listing(
        ask(queue, lambda queue: queue.limits.list()),
        heads=HEADS,
        as_row=as_row,
        as_json=json_line,
        is_json=args.json,
        none="no limits",
    )
    return 0


def _show(queue: "Queue", args: argparse.Namespace) -> int:
    from aiostreamq.cli.format.limits import rule_lines, state_line

    async def look(queue: "Queue") -> "tuple[list[LimitInfo], list[LimitState]]":
        states = await queue.limits.get(args.name)
        name = args.name.partition(":")[0]
        return [one for one in await queue.limits.list() if one.name == name], states

    found, states = ask(queue, look)
    for one in found:
        now = [state for state in states if state.kind == one.kind]
        if args.json:
            print_json({"limit": one, "state": now[0] if now else None})
            continue
        for line in (*rule_lines(one), *map(state_line, now)):
            say(line)
    if not found:
        complain(f"there is no limit {args.name!r}: `aiostreamq limits ls` lists them")
    return 0 if found else 1


def _set(queue: "Queue", args: argparse.Namespace) -> int:
    from aiostreamq.model.limit_reports import shown_rule
    from aiostreamq.model.limits import rule_of

    rule, name = _rule(args), args.name.partition(":")[0]

    async def set_it(queue: "Queue") -> "tuple[int, set[str]]":
        version = await queue.limits.set(args.name, rule, by=args.by)
        return version, {one.name for one in await queue.limits.list() if one.rule}

    version, known = ask(queue, set_it)
    print_json({"version": version}) if args.json else say(
        f"{args.name} is {shown_rule(f'{rule.kind}=', rule_of(rule))} now"
    )
    if name not in known:
        complain(f"no worker has had a limit {name!r} yet: {', '.join(sorted(known)) or 'none'}")
    return 0


def _clear(queue: "Queue", args: argparse.Namespace) -> int:
    was_set = ask(queue, lambda queue: queue.limits.clear(args.name, kind=args.kind))
    if args.json:
        print_json({"was_set": was_set})
    elif not was_set:
        complain(f"no rule was set for {args.name!r}")
    return 0 if was_set else 1


def _end_quiet(queue: "Queue", args: argparse.Namespace) -> int:
    ended = ask(queue, lambda queue: queue.limits.end_quiet(args.name))
    if args.json:
        print_json({"ended": ended})
    elif not ended:
        complain(f"{args.name!r} was not quiet")
    return 0 if ended else 1


def _explain(queue: "Queue", args: argparse.Namespace) -> int:
    from aiostreamq.cli.format.limits import wait_facts
    from aiostreamq.model.limit_reports import WaitReason

    task = queue.tasks.get(args.task)
    if task is None:
        known = ", ".join(sorted(queue.tasks)) or "none"
        raise UsageError(
            f"the limits of task {args.task!r} are known to its code only: name the queue as "
            f"module:queue, with --import for the module that has the task; known here: {known}"
        )
    positional, keywords = call_arguments(args, queue)
    call = task if args.lane is None else task.using(lane=args.lane)
    wait = ask(queue, lambda queue: queue.limits.explain(call, *positional, **keywords))
    if args.json:
        print_json(wait)
        return 0
    say("the job would start now" if wait.reason is WaitReason.SLOT else "the job would wait")
    for name, value in wait_facts(wait):
        say(f"{name:<11} {value}")
    return 0


def _rule(args: argparse.Namespace) -> "Limit":
    from aiostreamq.model.limits import Concurrency, Rate

    if (args.concurrency is None) == (args.rate is None):
        raise UsageError("give --concurrency or --rate")
    if args.rate is not None:
        return Rate(args.rate, burst=args.burst)
    if args.burst is not None:
        raise UsageError("--burst is for --rate")
    return Concurrency(args.concurrency)
