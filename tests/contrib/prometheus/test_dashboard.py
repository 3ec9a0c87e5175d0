"""The dashboard: its queries, and what Grafana needs to import it."""

import json
import re
from typing import Any, Final

import pytest

from tests.contrib.prometheus.exposed import Exposed
from tests.contrib.prometheus.queries import labels_of_result
from tests.guides.pages import DOCS

DASHBOARD: Final[dict[str, Any]] = json.loads((DOCS / "monitoring" / "dashboard.json").read_text())
PANELS: Final[list[dict[str, Any]]] = DASHBOARD["panels"]
VARIABLES: Final = {each["name"]: each for each in DASHBOARD["templating"]["list"]}

over_panels = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])


def with_values(query: str) -> str:
    """The query with values for the variables, as Grafana sends it to Prometheus."""
    return query.replace("$__rate_interval", "5m").replace("$bucket", ".*")


@over_panels
def test_queries_fit_what_is_exposed(panel: dict[str, Any], everything: Exposed) -> None:
    for target in panel["targets"]:
        query = with_values(target["expr"])
        assert "$" not in query
        labels = labels_of_result(query, everything)
        assert {*re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])} <= labels


@over_panels
def test_data_come_from_the_variable(panel: dict[str, Any]) -> None:
    for part in (panel, *panel["targets"]):
        assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_variables_are_defined(everything: Exposed) -> None:
    assert VARIABLES.keys() == {"datasource", "bucket"}
    found = re.fullmatch(r"label_values\((\w+), (\w+)\)", VARIABLES["bucket"]["definition"])
    assert found
    assert found[2] in labels_of_result(found[1], everything)


def test_panels_have_ids_and_places_of_their_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in PANELS]
    assert len({*places}) == len(PANELS)
    for panel in PANELS:
        letters = [target["refId"] for target in panel["targets"]]
        assert len({*letters}) == len(letters)
