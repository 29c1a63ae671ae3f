"""Tab completion: ``simulacra -sc install=bash`` prints what the shell needs; it asks ``query=bash``.

The protocol is Hydra's: the line stands in ``COMP_LINE`` and the place of the cursor in ``COMP_POINT``. The
first word is completed to a command, further ones to its groups, keys and choices, values that are paths to
files. What cannot be read is completed to nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from simulacra.cli.suggest import closest
from simulacra.core import UserError

OPTION = "-sc"
OPTIONS = ("--help", "--multirun", "--cfg", "--config-dir")
"""Of every command."""
ENDS = ("=", ".", "/")
"""Behind which a word goes on."""

SCRIPTS = {
    "bash": r"""_simulacra_complete() {
    local line="${COMP_LINE:0:COMP_POINT}" IFS=$'\n'
    local word="${line##* }"
    COMPREPLY=($(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" "$1" -sc query=bash 2>/dev/null))
    # bash begins a new word behind =, and wants only what stands there
    if [[ "$word" == *=* && "$COMP_WORDBREAKS" == *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%=*}="}")
    fi
}
complete -o nospace -F _simulacra_complete simulacra""",
    "zsh": r"""_simulacra_complete() {
    local -a found
    found=("${(@f)$(COMP_LINE="${BUFFER[1,CURSOR]}" "${words[1]}" -sc query=zsh 2>/dev/null)}")
    [[ -n "${found[1]}" ]] && compadd -Q -S '' -- "${found[@]}"
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _simulacra_complete simulacra""",
    "fish": r"""function __simulacra_complete
    set -lx COMP_LINE (commandline -cp)
    simulacra -sc query=fish 2>/dev/null
end
complete -c simulacra -f -a '(__simulacra_complete)'""",
}
REMOVALS = {
    "bash": "complete -r simulacra; unset -f _simulacra_complete",
    "zsh": "compdef -d simulacra; unfunction _simulacra_complete",
    "fish": "complete -c simulacra -e; functions -e __simulacra_complete",
}


def answer(arguments: Sequence[str], commands: Sequence[str]) -> str:
    """What is printed for ``-sc install=SHELL``, ``uninstall=SHELL`` or ``query=SHELL``.

    Raises:
        UserError: If something else is asked for.
    """
    asked, _, shell = (arguments[0] if arguments else "").partition("=")
    if asked not in ("install", "uninstall", "query") or shell not in SCRIPTS:
        verbs = [f"{verb}={name}" for verb in ("install", "uninstall") for name in SCRIPTS]
        hint = closest(" ".join(arguments), verbs)
        raise UserError(f"{OPTION} takes one of {', '.join(verbs)}{hint}")
    if asked == "query":
        line = os.environ.get("COMP_LINE", "")
        found = candidates(line[: int(os.environ.get("COMP_POINT") or len(line))], commands)
        end = "" if shell == "fish" else " "  # fish ends words by itself
        return "\n".join(item + ("" if item.endswith(ENDS) else end) for item in found)
    return (SCRIPTS if asked == "install" else REMOVALS)[shell]


def candidates(line: str, commands: Sequence[str]) -> list[str]:
    """What the last word of a line may become."""
    _, *before = line.split()
    word = "" if line[-1:].isspace() or not before else before.pop()
    if not before:
        return [name for name in (*commands, "--help", "--version") if name.startswith(word)]
    if before[0] not in commands:
        return []
    if word.startswith("-"):
        return [option for option in OPTIONS if option.startswith(word)]
    return sorted(set(_of_command(before[0], before[1:], word)))


def _of_command(command: str, before: Sequence[str], word: str) -> Iterator[str]:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from simulacra.cli.described import Described

    given = [item for item in before if "=" in item and "," not in item]
    try:
        found = Described(command, given)
    except (UserError, HydraException, OmegaConfBaseException):
        return
    if "=" in word:
        yield from _values(found, word)
        return
    topics = any(item in ("--help", "-h") for item in before)
    sign = "+" * (len(word) - len(word.lstrip("+")))
    word = word.removeprefix(sign)
    for choice in found.choices:
        if choice.key.startswith(word):
            yield choice.key if topics else f"{sign}{choice.key}="
    path, dot, begun = word.rpartition(".")
    values = found.select(path) if dot else found.values
    for key, value in values.items() if isinstance(values, dict) else ():
        if str(key).startswith(begun):
            inner = isinstance(value, dict) and value
            end = "" if topics else "." if inner else "="
            yield f"{sign}{path}{dot}{key}{end}"


def _values(found: object, word: str) -> Iterator[str]:
    from simulacra.cli.described import Described
    from simulacra.evaluation.overrides import is_path

    assert isinstance(found, Described)
    key, _, begun = word.partition("=")
    several, comma, last = begun.rpartition(",")
    head = f"{key}={several}{comma}"
    bare = key.lstrip("+")
    options = [item for choice in found.choices if choice.key == bare for item in choice.options]
    if options:
        yield from (f"{head}{name}" for name in options if name.startswith(last))
        return
    if is_path(bare):
        yield from (f"{head}{path}" for path in _files(last))
        return
    value = found.select(bare)
    wanted = ("true", "false") if isinstance(value, bool) else _plain(value)
    yield from (f"{head}{name}" for name in wanted if name.startswith(last))


def _plain(value: object) -> tuple[str, ...]:
    """What is set now, of a key that takes a number or a word."""
    return (str(value),) if isinstance(value, int | float | str) and "$" not in str(value) else ()


def _files(begun: str) -> Iterator[str]:
    """Paths that begin with a text, folders with a stroke behind them."""
    folder, stroke, name = begun.rpartition("/")
    place = Path(folder + stroke).expanduser()
    try:
        entries = sorted(place.iterdir())
    except OSError:
        return
    for entry in entries:
        hidden = entry.name.startswith(".") and not name.startswith(".")
        if entry.name.startswith(name) and not hidden:
            yield f"{folder}{stroke}{entry.name}{'/' if entry.is_dir() else ''}"
