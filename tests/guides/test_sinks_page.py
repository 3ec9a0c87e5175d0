"""The page about the sinks: its examples, and its tables of arguments."""

import re
from inspect import Parameter, signature
from typing import Any

import pytest

from django_jsonbuffer import sinks
from tests.guides.pages import DOCS, blocks

PAGE = (DOCS / "sinks.md").read_text()


def section(name: str) -> str:
    return PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def test_examples_are_correct_declarations(nothing_declared: None) -> None:
    namespace: dict[str, Any] = {}
    for block in blocks(PAGE):
        exec(block.code, namespace)


@pytest.mark.parametrize("name", sinks.__all__)
def test_each_sink_has_a_section_and_a_line_in_the_table(name: str) -> None:
    assert section(name)
    assert f"[`{name}`](#{name.lower()})" in PAGE


@pytest.mark.parametrize("name", sinks.__all__)
def test_table_has_each_argument(name: str) -> None:
    table, _, _ = section(name).partition("\n\n- **")
    rows = re.findall(r"^\| (`.*?) \| ", table, re.MULTILINE)
    named = [argument for row in rows for argument in re.findall(r"`(\w+)`", row)]
    parameters = signature(getattr(sinks, name)).parameters.values()
    expected = [each.name for each in parameters if each.kind is not Parameter.VAR_POSITIONAL]
    assert sorted(named) == sorted(expected)
