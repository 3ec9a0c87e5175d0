"""The alerts: what ``promtool check rules`` finds, and whether they fit what is exposed."""

import re
from typing import Any, Final

import promql_parser as promql
import pytest
import yaml

from tests.contrib.prometheus.exposed import Exposed
from tests.contrib.prometheus.queries import labels_of_result
from tests.guides.pages import DOCS

FILE: Final = DOCS / "monitoring" / "alerts.yml"
CONTENT: Final[dict[str, Any]] = yaml.safe_load(FILE.read_text())
RULES: Final[list[dict[str, Any]]] = [
    rule for group in CONTENT["groups"] for rule in group["rules"]
]

_FUNCTIONS: Final = {"humanizeDuration", "humanizePercentage", "humanize"}

over_rules = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])


def test_groups_have_the_known_keys() -> None:
    assert CONTENT.keys() == {"groups"}
    names = [group["name"] for group in CONTENT["groups"]]
    assert len({*names}) == len(names)
    for group in CONTENT["groups"]:
        assert group.keys() <= {"name", "interval", "rules"}


def test_each_alert_is_defined_once() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len({*names}) == len(names)


@over_rules
def test_rule_is_valid(rule: dict[str, Any]) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch("JSONBuffer[A-Za-z]+", rule["alert"])
    if "for" in rule:
        promql.parse_duration(rule["for"])
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description"}
    assert all(isinstance(text, str) and text for text in rule["annotations"].values())


@over_rules
def test_query_fits_what_is_exposed(rule: dict[str, Any], everything: Exposed) -> None:
    labels = labels_of_result(rule["expr"], everything)
    for text in rule["annotations"].values():
        assert used_labels(text) <= labels


@over_rules
def test_docs_name_the_alert(rule: dict[str, Any]) -> None:
    assert f"`{rule['alert']}`" in (DOCS / "monitoring.md").read_text()


def used_labels(template: str) -> set[str]:
    """The labels that an annotation shows. Fails if it is not a valid template."""
    labels = set()
    plain = re.sub(r"\{\{.*?\}\}", "", template)
    assert not {"{", "}"} & {*plain}, template
    for action in re.findall(r"\{\{(.*?)\}\}", template):
        value, *functions = (part.strip() for part in action.split("|"))
        assert {*functions} <= _FUNCTIONS
        if value != "$value":
            found = re.fullmatch(r"\$labels\.([a-z]+)", value)
            assert found, action
            labels.add(found[1])
    return labels


@pytest.mark.parametrize("template", ["{{ $label.x }}", "{{ $value | humanise }}", "{{ $value }"])
def test_bad_template_is_found(template: str) -> None:
    with pytest.raises(AssertionError):
        used_labels(template)
