"""`aiostreamq completion`: the script by which a shell completes the command line."""

import argparse
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHELLS = ("bash", "zsh", "fish")

_BASH = """\
# Completion of aiostreamq for bash: eval "$(aiostreamq completion bash)"
_aiostreamq() {
    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" path="" word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$path $word" in
            %(paths)s) path="$path $word" ;;
        esac
    done
    local offers=""
    case "$path $prev" in
%(values)s
        *) case "$path" in
%(offers)s
        esac ;;
    esac
    COMPREPLY=($(compgen -W "$offers" -- "$cur"))
}
complete -o default -F _aiostreamq aiostreamq
"""

_ZSH = """\
#compdef aiostreamq
# Completion of aiostreamq for zsh: save it as _aiostreamq in a folder of $fpath
_aiostreamq() {
    local path_="" word prev="${words[CURRENT-1]}"
    local -a offers
    for word in "${(@)words[2,CURRENT-1]}"; do
        case "$path_ $word" in
            %(paths)s) path_="$path_ $word" ;;
        esac
    done
    case "$path_ $prev" in
%(values)s
        *) case "$path_" in
%(offers)s
        esac ;;
    esac
    (( $#offers )) && compadd -- "${offers[@]}" || _files
}
if [[ $funcstack[1] = _aiostreamq ]]; then _aiostreamq "$@"; else compdef _aiostreamq aiostreamq; fi
"""

_FISH = """\
# Completion of aiostreamq for fish: save it as ~/.config/fish/completions/aiostreamq.fish
function __aiostreamq_path
    set -l path
    for word in (commandline -opc)[2..-1]
        switch "$path $word"
            case %(paths)s
                set path "$path $word"
        end
    end
    echo "$path"
end
%(lines)s
"""


class CommandOption(NamedTuple):
    """An option of a command, as a shell offers it."""

    name: str
    help: str
    takes_value: bool
    choices: tuple[str, ...]


class CommandNode(NamedTuple):
    """A command, with its subcommands and options."""

    path: str  #: as in " jobs ls"; empty is aiostreamq itself
    subcommands: dict[str, str]  #: their help, by name
    options: list[CommandOption]


def add_completion(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    """Add the command."""
    completion = add_parser(
        "completion",
        help="print the completion script of a shell",
        description="Print the script by which bash, zsh or fish completes commands and options.",
    )
    completion.add_argument("shell", choices=SHELLS, help="the shell")


def completion(args: argparse.Namespace) -> int:
    """Run `aiostreamq completion` and return the exit code."""
    write = {"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell]
    print(write(list(nodes_of(args.parser))), end="")
    return 0


def nodes_of(parser: argparse.ArgumentParser, path: str = "") -> "Iterator[CommandNode]":
    """Yield each command of *parser*, itself first."""
    subcommands: dict[str, str] = {}
    parsers: dict[str, argparse.ArgumentParser] = {}
    options: list[CommandOption] = []
    for action in parser._actions:  # noqa: SLF001  # argparse has no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            parsers = dict(action.choices)  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
            shown = {one.dest: one.help or "" for one in action._get_subactions()}  # noqa: SLF001
            subcommands = {name: shown.get(name, "") for name in parsers}
        elif action.choices and not action.option_strings:
            subcommands = dict.fromkeys(action.choices, "")
        elif action.option_strings and action.help != argparse.SUPPRESS:
            choices = tuple(action.choices or ())
            for name in action.option_strings:
                takes_value = action.nargs != 0
                options.append(CommandOption(name, action.help or "", takes_value, choices))
    yield CommandNode(path, subcommands, options)
    for name, below in parsers.items():
        yield from nodes_of(below, f"{path} {name}")


def _bash(commands: list[CommandNode]) -> str:
    return _BASH % _cases(commands, lambda offers: f'offers="{offers}"')


def _zsh(commands: list[CommandNode]) -> str:
    return _ZSH % _cases(commands, lambda offers: f"offers=({offers})")


def _cases(commands: list[CommandNode], offer: "Callable[[str], str]") -> dict[str, str]:
    """Return the parts of a script of bash or zsh; *offer* writes an assignment."""
    values = [
        f'        "{one.path} {option.name}") {offer(" ".join(option.choices))} ;;'
        for one in commands
        for option in one.options
        if option.takes_value
    ]
    below = [
        f'            "{one.path}") '
        + offer(" ".join([*one.subcommands, *(option.name for option in one.options)]))
        + " ;;"
        for one in commands
    ]
    paths = "|".join(f'"{one.path}"' for one in commands if one.path)
    return {"paths": paths, "values": "\n".join(values), "offers": "\n".join(below)}


def _fish(commands: list[CommandNode]) -> str:
    lines: list[str] = []
    for one in commands:
        start = f"complete -c aiostreamq -n 'test (__aiostreamq_path) = \"{one.path}\"'"
        for name, meaning in one.subcommands.items():
            lines.append(f"{start} -f -a {name} -d {_quoted(meaning)}")
        for option in one.options:
            flag = "-l" if option.name.startswith("--") else "-s"
            value = " -x" if option.choices else " -r" if option.takes_value else ""
            choices = f" -a '{' '.join(option.choices)}'" if option.choices else ""
            name = option.name.lstrip("-")
            lines.append(f"{start} {flag} {name}{value}{choices} -d {_quoted(option.help)}")
    paths = " ".join(f'"{one.path}"' for one in commands if one.path)
    return _FISH % {"paths": paths, "lines": "\n".join(lines)}


def _quoted(text: str) -> str:
    """Return *text* quoted for fish."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
