"""What the buckets must tell of a step, given the rows before and after it."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from django.db.models import DateField, DateTimeField, TimeField

from tests.differential.blueprints import LINKS
from tests.differential.faults import Fault
from tests.differential.oracle import Json, canonical
from tests.differential.plays import Play
from tests.differential.snapshots import Link, Row, Snapshot
from tests.differential.worlds import APP


class Change(NamedTuple):
    """A row that an event must tell of."""

    model: str
    action: str
    subject: str
    old: Row
    new: Row
    is_optional: bool
    """Whether the event may be missing, because the step failed halfway."""


class Comparison:
    """Of one step in the recorded world."""

    def __init__(self, play: Play, operation: str, after: Snapshot, *, failed: bool) -> None:
        self.play = play
        self.operation: Final = operation
        self.before = play.before
        self.after = after
        self.failed = failed

    def faults(self) -> Iterator[Fault]:
        world = self.play.world
        compared = [*self._rows(with_changes=True)]
        yield from self._events("changes=True", compared, world.compared.take(), has_links=True)
        plain = [*self._rows(with_changes=False)]
        yield from self._events("plain", plain, world.plain.take(), has_links=False)

    def _rows(self, *, with_changes: bool) -> Iterator[Change]:
        """The changes that a bucket must record, with or without ``changes=True``."""
        if self.play.is_bulk if with_changes else self.play.is_raw:
            return
        for name in self.play.scope:
            model = self.play.world.models[name]
            old, new = self.before.rows[name], self.after.rows[name]
            is_covered = issubclass(self.play.saved_as, model)
            if self.play.is_bulk and name != self.play.program.model:
                continue  # record_bulk() applies the recording of the nearest class
            if model._meta.proxy and not is_covered:
                continue
            for subject in new.keys() - old.keys():
                yield Change(name, "created", subject, {}, new[subject], self.failed)
            for subject in old.keys() - new.keys():
                yield Change(name, "deleted", subject, old[subject], {}, self.failed)
            if is_covered or name not in self.play.world.blueprints:
                yield from self._updates(name, with_changes=with_changes)

    def _updates(self, name: str, *, with_changes: bool) -> Iterator[Change]:
        old, new = self.before.rows[name], self.after.rows[name]
        touched = self.play.touched if name in self.play.world.blueprints else set()
        for subject in old.keys() & new.keys():
            changed = self._changed(name, old[subject], new[subject])
            if changed or (subject in touched and not with_changes):
                yield Change(name, "updated", subject, old[subject], new[subject], self.failed)

    def _changed(self, name: str, old: Row, new: Row) -> bool:
        """Whether a field changed that is not only the time of the save."""
        fields = self.play.world.models[name]._meta.concrete_fields
        return any(old[f.attname] != new[f.attname] for f in fields if not _is_auto_now(f))

    def _events(
        self, bucket: str, changes: list[Change], events: list[Any], *, has_links: bool
    ) -> Iterator[Fault]:
        wanted = {(self._type(c.model, c.action), c.subject): c for c in changes}
        links = {name for name in LINKS if has_links}
        rows = [event for event in events if event["type"].split(".")[2] not in links]
        told = Counter((event["type"], event["subject"]) for event in rows)
        missing = [key for key in wanted if key not in told and not wanted[key].is_optional]
        extra = [key for key in told if key not in wanted]
        yield from self._unpaired(bucket, missing, extra, rows)
        yield from (self._fault(f"{bucket}: event twice", key) for key in told if told[key] > 1)
        for event in rows:
            if change := wanted.get((event["type"], event["subject"])):
                yield from self._data(bucket, change, event["data"])
        if has_links:
            told_links = [event for event in events if event not in rows]
            yield from self._links(bucket, told_links)

    def _unpaired(
        self, bucket: str, missing: list[Any], extra: list[Any], events: list[Any]
    ) -> Iterator[Fault]:
        by_type: dict[str, list[str]] = {}
        for kind, subject in missing:
            by_type.setdefault(kind, []).append(subject)
        for kind, subject in extra:
            action = kind.rsplit(".", 1)[1]
            if by_type.get(kind):
                detail = f"{subject!r} instead of {by_type[kind].pop()!r}"
                yield self._fault(f"{bucket}: subject differs", detail, "key")
                continue
            event = next(e for e in events if (e["type"], e["subject"]) == (kind, subject))
            data = event["data"]
            names = [*data.get("changes", ())] if action == "updated" else []
            for name in names or ["row"]:
                detail = f"{data['changes'][name] if names else data} of {kind} {subject}"
                yield self._fault(f"{bucket}: {action} too much", detail, name)
        for kind, subjects in by_type.items():
            action = kind.rsplit(".", 1)[1]
            for subject in subjects:
                for name in self._names_changed(kind, subject) or ["row"]:
                    yield self._fault(f"{bucket}: {action} missing", f"{kind} {subject}", name)

    def _names_changed(self, kind: str, subject: str) -> list[str]:
        """The fields of an update, if it changed few."""
        names = [name for name in self.play.scope if kind == self._type(name, "updated")]
        if not names:
            return []
        [model] = names
        old, new = (side.rows[model].get(subject, {}) for side in (self.before, self.after))
        changed = [name for name in new if name in old and old[name] != new[name]]
        return changed if len(changed) <= 2 else []

    def _data(self, bucket: str, change: Change, data: Any) -> Iterator[Fault]:
        data = dict(data)
        changes = data.pop("changes", None)
        row = change.new or change.old
        what = f"{bucket}: data of {change.action}"
        yield from self._values(what, change, row, {name: canonical(v) for name, v in data.items()})
        is_compared = bucket != "plain" and change.action == "updated"
        if not is_compared:
            if changes is not None:
                yield self._fault(f"{what} has changes", changes, "row")
            return
        if changes is None:
            yield self._fault(f"{what} has no changes", data, "key")
            return
        for side, values in (("old", change.old), ("new", change.new)):
            changed = {n: values[n] for n in values if change.old[n] != change.new[n]}
            told = {name: canonical(one[side]) for name, one in changes.items()}
            yield from self._values(f"{bucket}: {side}", change, changed, told)

    def _values(
        self, what: str, change: Change, wanted: Row, told: dict[str, Json]
    ) -> Iterator[Fault]:
        for name in {**wanted, **told}:
            if wanted.get(name) != told.get(name):
                detail = f"{told.get(name, 'nothing')} instead of {wanted.get(name, 'nothing')}"
                yield self._fault(what, detail, name, model=change.model)

    def _links(self, bucket: str, events: list[Any]) -> Iterator[Fault]:
        for (name, field), after in self.after.links.items():
            before = self.before.links[name, field]
            told = {
                action: self._told(events, name, field, action) for action in ("added", "removed")
            }
            # set(clear=True) removes a link and adds it again.
            again = told["added"] & told["removed"] & before & after
            turned = self._turned(name) if field == "friends" else {}
            for action, some, others in (
                ("added", after - before, before),
                ("removed", before - after, after),
            ):
                wanted = {one for one in some if not others[one] and self._has(name, field, one)}
                what = f"{bucket}: link {action}"
                links = told[action] - again
                either = {*links, *(turned.get(link, link) for link in links)}
                if missing := wanted - either:
                    yield self._fault(f"{what} missing", sorted(map(str, missing)), "link")
                if extra := links - some:
                    yield self._fault(f"{what} too much", sorted(extra.elements()), "link")

    def _told(self, events: list[Any], name: str, field: str, action: str) -> Counter[Link]:
        kind = self._type(name, f"{field}.{action}")
        return Counter(
            (event["subject"], canonical(key))
            for event in events
            if event["type"] == kind
            for key in event["data"][field]
        )

    def _turned(self, name: str) -> dict[Link, Link]:
        """The other direction of each link of a symmetrical field. One event tells of both."""
        attname = self.play.world.models[name]._meta.pk.attname
        keys = {subject: row[attname] for subject, row in self.after.rows[name].items()}
        return {(one, keys[two]): (two, keys[one]) for one in keys for two in keys}

    def _has(self, name: str, field: str, link: Link) -> bool:
        """Whether both rows still exist. Links of deleted rows are not recorded."""
        owner, key = link
        target = name if LINKS[field] == "self" else LINKS[field]
        attname = self.play.world.models[target]._meta.pk.attname
        keys = {row[attname] for row in self.after.rows[target].values()}
        return owner in self.after.rows[name] and key in keys

    def _type(self, name: str, action: str) -> str:
        return f"{APP}.{self.play.world.models[name].__name__.lower()}.{action}"

    def _fault(self, what: str, detail: Any, field: str = "row", model: str = "") -> Fault:
        names = dict(self.play.world.kind_names)
        names[self.play.program.model, "key"] = f"key: {self.play.blueprint.key.name}"
        return Fault(
            what=what,
            operation=self.operation,
            field=names.get((model or self.play.program.model, field), field),
            form=self.play.forms.get(field, "as read"),
            detail=str(detail),
        )


def _is_auto_now(field: Any) -> bool:
    times = (DateField, DateTimeField, TimeField)
    return isinstance(field, times) and bool(getattr(field, "auto_now", False))
