"""Queries in PromQL: which samples they select, and which labels their results have."""

import re
from typing import Any, Final

import promql_parser as promql

from tests.contrib.prometheus.exposed import Exposed, Sample

OF_THE_TARGET: Final = {"job", "instance"}
"""Labels that Prometheus itself adds to each sample."""

_KEEPING_LABELS: Final = {"rate", "increase"}


def labels_of_result(query: str, exposed: Exposed) -> set[str]:
    """The labels of the result. Fails if the query does not fit what is exposed."""
    return _labels(promql.parse(query), exposed)


def _labels(query: Any, exposed: Exposed) -> set[str]:
    match query:
        case promql.NumberLiteral():
            return set()
        case promql.ParenExpr():
            return _labels(query.expr, exposed)
        case promql.VectorSelector():
            return _labels_of_selector(query, exposed)
        case promql.MatrixSelector():
            return _labels_of_selector(query.vector_selector, exposed)
        case promql.AggregateExpr():
            return _labels_of_aggregation(query, exposed)
        case promql.Call():
            return _labels_of_call(query, exposed)
        case promql.BinaryExpr():
            left, right = _labels(query.lhs, exposed), _labels(query.rhs, exposed)
            matching = query.modifier.matching if query.modifier else None
            if isinstance(query.rhs, promql.NumberLiteral) or matching is not None:
                return left
            assert left == right, f"{left} and {right} never match"
            return left
    raise AssertionError(f"The test does not know {query!r}")


def _labels_of_call(call: promql.Call, exposed: Exposed) -> set[str]:
    function, labels = call.func.name, [_labels(each, exposed) for each in call.args]
    if function == "absent":
        return set()
    if function == "histogram_quantile":
        assert "le" in labels[1], "the quantile needs the label le"
        return labels[1] - {"le"}
    assert function in _KEEPING_LABELS, function
    selector = call.args[0].vector_selector
    is_total = selector.name.endswith(("_total", "_bucket", "_count", "_sum"))
    assert is_total, f"{function} of {selector.name}, which is not a counter"
    return labels[0]


def _labels_of_aggregation(query: promql.AggregateExpr, exposed: Exposed) -> set[str]:
    labels, modifier = _labels(query.expr, exposed), query.modifier
    assert modifier is not None
    assert modifier.type == promql.AggModifierType.By
    assert labels.issuperset(modifier.labels), f"{modifier.labels} of {labels}"
    return set(modifier.labels)


def _labels_of_selector(selector: promql.VectorSelector, exposed: Exposed) -> set[str]:
    found = [sample for sample in exposed if sample.name == selector.name]
    for matcher in selector.matchers.matchers:
        for pattern in _patterns(matcher):
            assert any(_matches(matcher.name, pattern, each) for each in found), matcher
        patterns = "|".join(_patterns(matcher))
        found = [each for each in found if _matches(matcher.name, patterns, each)]
    assert found, f"{selector.prettify()} selects nothing"
    return OF_THE_TARGET.union(*(sample.labels for sample in found))


def _patterns(matcher: promql.Matcher) -> list[str]:
    """The alternatives, each of which has to select a sample."""
    if matcher.op == promql.MatchOp.Equal:
        return [re.escape(matcher.value)]
    assert matcher.op == promql.MatchOp.Re, matcher
    return matcher.value.split("|")


def _matches(label: str, pattern: str, sample: Sample) -> bool:
    return re.fullmatch(pattern, sample.labels.get(label, "")) is not None
