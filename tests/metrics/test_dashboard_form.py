"""The dashboard of examples/grafana as Grafana reads it: its form alone, without a server."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "examples" / "grafana" / "fastgw.json"
COLUMNS = 24  # of Grafana's grid
# Grafana's ids of units, by what the name of a metric ends with, and of counts and rates.
UNITS = {"_seconds": "s", "_bytes": "bytes"}
COUNTS = {"short", "none"}
RATES = {"ops", "Bps", "percentunit"}

pytestmark = pytest.mark.skipif(not PATH.exists(), reason="the dashboard is beside the source")
DASHBOARD = json.loads(PATH.read_text()) if PATH.exists() else {"panels": []}
PANELS = DASHBOARD["panels"]
each_panel = pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])


def test_it_names_itself_and_refreshes():
    """An import keeps uid and refresh; "id" is the other Grafana's, and would clash."""
    assert DASHBOARD["uid"] == "fastgw"
    assert "id" not in DASHBOARD
    assert re.fullmatch(r"[1-9][0-9]*[smh]", DASHBOARD["refresh"])
    assert DASHBOARD["schemaVersion"] >= 36  # from there on a datasource is an object
    assert DASHBOARD["time"]["to"] == "now"


def test_ids_and_titles_are_each_panels_own():
    """Grafana links to panels by id, and drops one of two that share it."""
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)


def test_the_source_is_a_variable_of_the_dashboard():
    """So that it works with any Prometheus: none is named by an id of somebody's Grafana."""
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    wanted = {"type": "prometheus", "uid": f"${{{variable['name']}}}"}
    assert [panel["title"] for panel in PANELS if panel["datasource"] != wanted] == []


def test_no_panel_lies_on_another():
    """Each within the grid."""
    places = [(panel["title"], panel["gridPos"]) for panel in PANELS]
    for title, place in places:
        assert place["x"] >= 0, title
        assert place["x"] + place["w"] <= COLUMNS, title
    for (title, a), (other, b) in combinations(places, 2):
        is_beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        is_below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert is_beside or is_below, (title, other)


@each_panel
def test_a_panel_asks_and_labels(panel):
    """Targets with an id of their own, a query and a legend."""
    assert panel["type"] in ("stat", "timeseries")
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
    for target in panel["targets"]:
        assert "fastgw_" in target["expr"]
        assert target["legendFormat"]


@each_panel
def test_a_rate_fits_any_scrape_interval(panel):
    """Grafana's $__rate_interval is four scrapes or more; [1m] is empty with a scrape a minute."""
    for target in panel["targets"]:
        assert set(re.findall(r"rate\([^[]*\[([^]]+)\]", target["expr"])) <= {"$__rate_interval"}


@each_panel
def test_a_unit_is_that_of_the_metric(panel):
    """Seconds as seconds, bytes as bytes, and a rate a second as a rate of it."""
    unit = panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        expression = target["expr"]
        (ending,) = {
            next((end for end in UNITS if f"{end}_" in f"{name}_"), "")
            for name in re.findall(r"fastgw_\w+", expression)
        }
        is_rate = "rate(" in expression and "histogram_quantile(" not in expression
        if not is_rate:
            assert unit == UNITS[ending] if ending else unit in COUNTS, expression
        else:
            wanted = {"_seconds": "percentunit", "_bytes": "Bps", "": "ops"}[ending]
            assert unit == wanted, expression
