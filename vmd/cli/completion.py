"""What a shell needs to complete vmctl's words, made from the table of words itself: bash 5, zsh 5.8, fish 3.

Guests' names come from the daemon, by ``vmctl list --names``, when Tab is pressed.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping

from ..protocol import RUNGS, Exit
from .arguments import VERBS, Option, Verb

RELEASES = ("debian-12", "debian-13")
"""What ``vmctl iso build`` can build; the daemon has the last word."""


def completion(arguments: Namespace) -> int:
    """Print the script of a shell."""
    sys.stdout.write(_SHELLS[arguments.shell]())
    return Exit.DONE


def _is_flag(option: Option) -> bool:
    return option.spellings[0].startswith("-")


def _takes_value(option: Option) -> bool:
    return _is_flag(option) and "action" not in option.settings


def _flags(verb: Verb) -> Iterator[Option]:
    return filter(_is_flag, verb.options)


def _places(verb: Verb) -> Iterator[Option]:
    return (option for option in verb.options if not _is_flag(option))


def _repeats(option: Option) -> bool:
    return option.settings.get("nargs") in {"*", "+"}


def _words(option: Option) -> tuple[str, ...]:
    """The words that may stand here, where they are few and known; of guests and files there are none."""
    if option.completes == "rung":
        return RUNGS
    if option.completes == "release":
        return RELEASES
    return tuple(option.settings.get("choices", ()))


def _kind(option: Option) -> str:
    """``guest``, ``file``, the words themselves, or nothing."""
    return option.completes if option.completes in {"guest", "file"} else " ".join(_words(option))


# -- bash


def bash() -> str:
    """The script for bash."""
    cases = "".join(_bash_verb(verb) for verb in VERBS)
    return _BASH.format(verbs=" ".join(verb.name for verb in VERBS), cases=cases)


def _bash_verb(verb: Verb) -> str:
    flags = " ".join(spelling for option in _flags(verb) for spelling in option.spellings)
    places = [*_places(verb)]
    lines = [f"flags={_quoted(f'{flags} --help'.strip())}"]
    values = [(option, "|".join(option.spellings)) for option in _flags(verb) if _takes_value(option)]
    if values:
        arms = " ".join(f"{spelled}) kind={_quoted(_kind(option) or '-')} ;;" for option, spelled in values)
        lines.append(f"case $prev in {arms} esac")
    lines.append(f"places=({' '.join(_quoted(_kind(option) or '-') for option in places)})")
    lines.append(f"valued={_quoted('|'.join(['', *(spelled for _, spelled in values), '']))}")
    lines.append(f"last={int(bool(places) and _repeats(places[-1]))}")
    return f"        {verb.name})\n" + "".join(f"            {line}\n" for line in lines) + "            ;;\n"


_BASH = """\
# vmctl's words for bash; made by: vmctl completion bash
_vmctl() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}
    local flags='' kind='' valued='' last=0 index=0 word places=()
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W '{verbs} --help --version' -- "$cur")
        return
    fi
    case ${{COMP_WORDS[1]}} in
{cases}        *) return ;;
    esac
    if [[ -z $kind && $cur == -* ]]; then
        kind=$flags
    elif [[ -z $kind ]]; then
        for ((word = 2; word < COMP_CWORD; word++)); do
            [[ ${{COMP_WORDS[word]}} == -* || $valued == *"|${{COMP_WORDS[word-1]}}|"* ]] || ((index++))
        done
        ((index >= ${{#places[@]}} && last)) && index=$((${{#places[@]}} - 1))
        kind=${{places[index]-}}
    fi
    case $kind in
        '' | -) ;;
        guest) mapfile -t COMPREPLY < <(compgen -W "$(vmctl list --names 2>/dev/null)" -- "$cur") ;;
        file) compopt -o default ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$kind" -- "$cur") ;;
    esac
}}
complete -F _vmctl vmctl
"""

# -- zsh


def zsh() -> str:
    """The script for zsh."""
    verbs = "".join(f"        {_quoted(f'{verb.name}:{_plain(verb.help)}')}\n" for verb in VERBS)
    cases = "".join(_zsh_verb(verb) for verb in VERBS)
    return _ZSH.format(verbs=verbs, cases=cases)


def _zsh_verb(verb: Verb) -> str:
    options = [spec for option in verb.options for spec in _zsh_option(option)]
    lines = "".join(f" \\\n                {_quoted(spec)}" for spec in (*options, "(- *)--help[say more of it]"))
    return f"        {verb.name})\n            _arguments -s{lines} ;;\n"


def _zsh_option(option: Option) -> Iterator[str]:
    takes = f":{option.settings.get('metavar', 'value')}:{_zsh_action(option)}"
    if not _is_flag(option):
        yield f"{'*' if _repeats(option) else ''}{takes}"
        return
    for spelling in option.spellings:
        yield f"{spelling}[{_plain(option.help)}]{takes if _takes_value(option) else ''}"


def _zsh_action(option: Option) -> str:
    kind = _kind(option)
    return {"guest": "_vmctl_guests", "file": "_files", "": " "}.get(kind, f"({kind})")


_ZSH = """\
#compdef vmctl
# vmctl's words for zsh; made by: vmctl completion zsh
_vmctl_guests() {{
    local -a guests=(${{(f)"$(vmctl list --names 2>/dev/null)"}})
    compadd -a guests
}}
_vmctl() {{
    local curcontext=$curcontext state line
    local -a verbs=(
{verbs}    )
    _arguments -C '(- *)--help[say what it can do]' '(- *)--version[say which it is]' '1: :->verb' '*:: :->rest'
    case $state in
        verb) _describe verb verbs ;;
        rest) _vmctl_rest ;;
    esac
}}
_vmctl_rest() {{
    case $words[1] in
{cases}    esac
}}
if [[ $funcstack[1] = _vmctl ]]; then _vmctl "$@"; else compdef _vmctl vmctl; fi
"""

# -- fish


def fish() -> str:
    """The script for fish."""
    return "".join(f"{line}\n" for line in (*_FISH, *(line for verb in VERBS for line in _fish_verb(verb))))


_FISH = (
    "# vmctl's words for fish; made by: vmctl completion fish",
    "complete -c vmctl -f",
    "complete -c vmctl -n __fish_use_subcommand -l help -d 'say what it can do'",
    "complete -c vmctl -n __fish_use_subcommand -l version -d 'say which it is'",
)


def _fish_verb(verb: Verb) -> Iterator[str]:
    yield f"complete -c vmctl -n __fish_use_subcommand -a {verb.name} -d {_quoted(_plain(verb.help))}"
    here = f"complete -c vmctl -n '__fish_seen_subcommand_from {verb.name}'"
    for option in verb.options:
        offers = _fish_offers(option)
        if not _is_flag(option):
            yield from (f"{here}{offers}",) if offers else ()
            continue
        spelled = "".join(f" -{'l' if len(word) > 2 else 's'} {word.lstrip('-')}" for word in option.spellings)
        value = (offers if "-F" in offers else f" -x{offers}") if _takes_value(option) else ""
        yield f"{here}{spelled}{value} -d {_quoted(_plain(option.help))}"


def _fish_offers(option: Option) -> str:
    kind = _kind(option)
    offers: Mapping[str, str] = {"guest": " -a '(vmctl list --names 2>/dev/null)'", "file": " -r -F", "": ""}
    return offers.get(kind, f" -a {_quoted(kind)}")


# -- words


def _quoted(text: str) -> str:
    """Quote for sh, zsh and fish alike: no backslash, and no quote inside."""
    return f"'{text}'"


def _plain(text: str) -> str:
    """Take out what means something inside a shell's description."""
    return "".join(_PLAIN.get(character, character) for character in text)


_PLAIN = {"'": "\N{RIGHT SINGLE QUOTATION MARK}", "\\": "/", "[": "(", "]": ")", ":": ","}


_SHELLS: Mapping[str, Callable[[], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
