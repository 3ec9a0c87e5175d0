"""The text of a Lua script, put together from its files.

Each file in ``scripts/`` is one operation. The files in ``scripts/shared/`` hold the code that
several operations have in common. A file names the shared files that it uses itself in a line::

    -- @needs clock counters

The text of the shared files replaces that line, each file behind the files that it needs. A script
has each file once: a file that is already further up is left out. An operation may have
several of these lines. Lua creates a function where its text stands, so a script that returns
above the second line does not spend the time that the functions of the second line take.

At the end, ``shared/permissions.lua`` gets a check of each command that the whole script runs. A
loop over their names would take twice the time.
"""

import re
from functools import cache
from importlib import resources
from typing import Final

_NEEDS: Final = re.compile(r"^-- @needs (.+)$", re.MULTILINE)
_CALL: Final = re.compile(r"redis\.p?call\(\s*'(\w+)'(?:\s*,\s*'([A-Z]+)')?")
MAY_BE_REFUSED: Final = {"PUBLISH"}
"""Commands whose refusal does not stop a script."""
_WITH_SUBCOMMANDS: Final = {"XGROUP", "XINFO"}
_UNCHECKED: Final = re.compile(r"local command = nil -- .*")


def assemble(name: str) -> str:
    """The text of an operation, with the shared files that it needs.

    Raises ``ValueError`` if a file is missing, or if shared files need each other in a circle.
    """
    text = _text(f"{name}.lua", needed_by=(), above=set())
    checks = [_check_of(each) for each in commands_of(text) if each not in MAY_BE_REFUSED]
    return _UNCHECKED.sub(f"local command = {' or '.join(checks)}", text)


def commands_of(text: str) -> list[str]:
    """The commands that a script runs, each with its subcommand: ``XADD``, ``XGROUP|CREATE``."""
    return sorted(
        {
            f"{command}|{word}" if command in _WITH_SUBCOMMANDS else command
            for command, word in _CALL.findall(text)
        }
    )


def _check_of(command: str) -> str:
    words = ", ".join(f"'{word}'" for word in command.split("|"))
    return f"not may_run({words}, key, key, key) and '{command.lower()}'"


def _text(file: str, *, needed_by: tuple[str, ...], above: set[str]) -> str:
    """The text of a file and of the files that it needs. Empty if `above` already has the file."""
    path = (*needed_by, file)
    if file in needed_by:
        raise ValueError(f"These scripts need each other in a circle: {' → '.join(path)}.")
    if file in above:
        return ""
    try:
        text = read_file(file)
    except FileNotFoundError as error:
        raise ValueError(f"The last of these scripts is missing: {' → '.join(path)}.") from error

    def needed_texts(line: re.Match[str]) -> str:
        needed = [f"shared/{name}.lua" for name in line[1].split()]
        return "".join(_text(each, needed_by=path, above=above) for each in needed)

    text = _NEEDS.sub(needed_texts, text)
    above.add(file)
    return text


@cache
def read_file(file: str) -> str:
    """The text of a file in ``scripts/``. Read once, so that all scripts get the same text."""
    return resources.files("django_jsonbuffer").joinpath("scripts", file).read_text("utf-8")
