"""The rows of recorded models, as their events describe them.

The expected values do not come from the app: a plain queryset reads each row.
"""

import base64
import json
import math
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from django.db.models import Model, QuerySet

from django_jsonbuffer import Bucket
from tests.recorded import recorded

Values = dict[str, Any]


class Ledger:
    """A copy of the tables, kept up to date by the events alone.

    It begins with the rows that exist when the recording begins.
    """

    def __init__(
        self, bucket: Bucket, models: Iterable[type[Model]], *, leaving_out: Iterable[str] = ()
    ) -> None:
        self.bucket = bucket
        self.models = {model._meta.label_lower: model for model in models}
        self.leaving_out = {*leaving_out}
        self.rows = self.stored()

    def told(self) -> list[str]:
        """Take the events, replay them, and compare the copy with the tables.

        Returns the model and the action of each event, such as ``"order.created"``.
        """
        events = recorded(self.bucket)
        for event in events:
            self.replay(event)
        assert self.rows == self.stored()
        return [event["type"].partition(".")[2] for event in events]

    def replay(self, event: Values) -> None:
        """Apply one event to the copy. It must fit what the earlier events have said."""
        label, _, action = event["type"].rpartition(".")
        row, data = (label, event["subject"]), event["data"]
        if action == "created":
            assert row not in self.rows
        elif action == "deleted":
            assert data == self.rows.pop(row)
            return
        else:
            assert data.pop("changes") == changes(self.rows[row], data) != {}
        self.rows[row] = data

    def stored(self) -> dict[tuple[str, str], Values]:
        """The rows in the database, by the model's label and the text of the primary key."""
        return {
            (label, str(pk)): values
            for label, model in self.models.items()
            for pk, values in stored(model, self.leaving_out).items()
        }


def stored(model: type[Model], leaving_out: Iterable[str] = ()) -> dict[Any, Values]:
    """All rows of a table, by primary key, in the form that events have."""
    fields = [field for field in model._meta.concrete_fields if field.name not in leaving_out]
    rows: QuerySet[Any] = QuerySet(model)
    return {
        pk: {f.attname: as_json(f, value) for f, value in zip(fields, row, strict=True)}
        for pk, *row in rows.values_list("pk", *(field.attname for field in fields))
    }


def changes(before: Values, after: Values) -> dict[str, Values]:
    return {
        attname: {"old": before[attname], "new": value}
        for attname, value in after.items()
        if before[attname] != value
    }


def as_json(field: Any, value: Any) -> Any:
    """The form that the docs promise for a value in the database."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case bytes() | memoryview():
            return base64.b64encode(value).decode()
        case list() | dict():
            return json.loads(json.dumps(value, cls=getattr(field, "encoder", None)))
    if hasattr(value, "isempty"):  # a range of PostgreSQL
        return as_range(field.base_field, value)
    return cast(str, field.value_to_string(SimpleNamespace(**{field.attname: value})))


def as_range(field: Any, value: Any) -> Values:
    """The keys are those of Django's serializers."""
    if value.isempty:
        return {"empty": True}
    bounds = ("[" if value.lower_inc else "(") + ("]" if value.upper_inc else ")")
    lower, upper = as_json(field, value.lower), as_json(field, value.upper)
    return {"lower": lower, "upper": upper, "bounds": bounds}
