"""Rows that a many-to-many field links with an instance."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from django.db.models import ManyToManyField, Model, QuerySet

from django_jsonbuffer.django_internals.models import names_of_link_fields

if TYPE_CHECKING:
    AnyManyToManyField = ManyToManyField[Any, Any]


def through(field: "AnyManyToManyField") -> type[Model]:
    """The model with a row for each link. It sends the signals of the field."""
    return cast(type[Model], getattr(field.model, field.name).through)


@dataclass(frozen=True, slots=True)
class Links:
    """The links of one instance through one many-to-many field."""

    field: "AnyManyToManyField"
    instance: Model
    reverse: bool
    """Whether the instance is of the model that the field points to."""

    using: str

    def keys(self) -> set[Any]:
        """Primary keys of the rows that are linked with the instance at the moment."""
        own, other = self._names()
        links: QuerySet[Any] = QuerySet(through(self.field), using=self.using)
        return {*links.filter(**{own: self.instance}).values_list(f"{other}_id", flat=True)}

    def normalized(self, pks: Iterable[Any]) -> set[Any]:
        """The keys in the type of their column. A caller may have written "3" for the number 3."""
        _, other = self._names()
        field: Any = through(self.field)._meta.get_field(other)
        return {field.to_python(pk) for pk in pks}

    def by_owner(self, pks: set[Any], *, model: type[Model]) -> list[tuple[Model, list[Any]]]:
        """The owners of links (the instances that have the field), each with its linked keys.

        `pks` are the keys of the rows that are linked with this instance.
        """
        if not self.reverse:
            return [(self.instance, sorted(pks))] if pks else []
        owners: QuerySet[Model] = QuerySet(model, using=self.using).filter(pk__in=pks)
        return [(owner, [self.instance.pk]) for owner in owners.order_by("pk")]

    def _names(self) -> tuple[str, str]:
        """Names of the link's foreign keys: to the instance, and to the other end."""
        to_owner, to_target = names_of_link_fields(self.field)
        return (to_target, to_owner) if self.reverse else (to_owner, to_target)
