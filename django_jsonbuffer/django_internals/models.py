"""Models and their fields."""

from collections.abc import Sequence
from inspect import getattr_static
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from django.apps import apps
from django.db.models import Field, ManyToManyField, Model
from django.db.models.fields.files import FileDescriptor, ImageFileDescriptor
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init
from django.dispatch import Signal

if TYPE_CHECKING:
    AnyField = Field[Any, Any]
    AnyManyToManyField = ManyToManyField[Any, Any]


def models_are_loaded() -> bool:
    """Whether the models of all installed apps are imported.

    ``apps.models_ready``. The documented ``apps.ready`` is set later, after every ``ready()``, and
    a recording may be declared in a ``ready()``.
    """
    return apps.models_ready


def key_field(model: type[Model]) -> "AnyField":
    """The field of the primary key, which may be a composite one.

    ``_meta.pk``. The documented ``instance.pk`` and ``_meta.pk_fields`` do not give the field.
    """
    return model._meta.pk


def concrete_fields(model: type[Model]) -> Sequence["AnyField"]:
    """The fields with a column. The fields of parents come first, in the order of each class.

    ``_meta.concrete_fields``. The documented ``_meta.get_fields()`` promises no order.
    """
    return model._meta.concrete_fields


def many_to_many_fields(model: type[Model]) -> Sequence["AnyManyToManyField"]:
    """The many-to-many fields of the model and of its parents.

    ``_meta.many_to_many``, for the same reason as `concrete_fields`.
    """
    return cast(Sequence["AnyManyToManyField"], model._meta.many_to_many)


_STORING: Final = (
    *("to_python", "pre_save", "get_prep_value", "get_db_prep_value", "get_db_prep_save"),
    *("get_placeholder", "get_placeholder_sql"),
    *("get_internal_type", "db_type", "rel_db_type", "db_parameters", "cast_db_type"),
    *("from_db_value", "get_db_converters", "select_format", "value_from_object"),
)
"""The methods of a field that decide what is stored for a value, and what is read back."""

_PLAIN_ATTRIBUTES: Final = (
    *(DeferredAttribute, ForeignKeyDeferredAttribute, FileDescriptor, ImageFileDescriptor),
)


def shares_table(field: "AnyManyToManyField") -> bool:
    """Whether another many-to-many field has the same model in between.

    The documented ``auto_created`` tells for most fields. For the others, ``remote_field.through``.
    """
    through: Any = field.remote_field.through
    if through._meta.auto_created:
        return False
    fields = {f for model in apps.get_models() for f in model._meta.local_many_to_many}
    return any(f != field and f.remote_field.through is through for f in fields)


def own_class_of_django(field: Any, methods: Sequence[str] = _STORING) -> type | None:
    """The class of Django that decides what is stored for the field's values.

    This is the field's class, or the nearest base in ``django.db.models``. None if a class of
    another library, or the field itself, replaces one of the `methods`. Most of them are documented
    for authors of fields. ``get_placeholder``, ``select_format`` and ``cast_db_type`` are not.
    """
    classes = type(field).__mro__
    for name in methods:
        definer = next((cls for cls in classes if name in vars(cls)), None)
        if name in vars(field) or (definer is not None and not _is_of_django(definer)):
            return None
    return next((cls for cls in classes if _is_of_django(cls)), None)


def _is_of_django(cls: type) -> bool:
    return f"{cls.__module__}.".startswith("django.db.models.")


def has_plain_attribute(cls: type[Model], field: "AnyField") -> bool:
    """Whether an instance of the class has the field's value in its ``__dict__``.

    Relies on the descriptors that Django itself sets on a model. Another library may set its own.
    """
    return type(getattr_static(cls, field.attname, None)) in _PLAIN_ATTRIBUTES


def is_loaded_plainly(cls: type[Model]) -> bool:
    """Whether Django makes an instance with exactly the values of the row that it has read.

    ``Model.__init__`` and the documented ``from_db()`` may be overridden, and receivers of
    ``post_init`` may change values: Django does not document how to find that out.
    """
    own, plain = (getattr(each.from_db, "__func__", None) for each in (cls, Model))
    has_own_code = own is not plain or cls.__init__ is not Model.__init__
    return not has_own_code and not post_init.has_listeners(cls)


def is_generated(field: "AnyField") -> bool:
    """Whether the database computes the field's value.

    ``Field.generated``, which ``GeneratedField`` and fields of other libraries set. Documented is
    only the class ``GeneratedField``.
    """
    return bool(getattr(field, "generated", False))


def model_with_table(model: type[Model]) -> type[Model]:
    """The model itself, or the model that it is a proxy of.

    ``_meta.concrete_model``. Django documents no way from a proxy to its model.
    """
    return model._meta.concrete_model  # type: ignore[return-value]


def have_one_table(model: type[Model], other: type[Model]) -> bool:
    """Whether the classes have the same table: a model and its proxies."""
    return model_with_table(model) is model_with_table(other)


def swapped_for(model: type[Model]) -> str | None:
    """The label of the model that a setting puts in the place of this one.

    ``_meta.swapped``. Django documents only the setting ``AUTH_USER_MODEL``, and other apps have
    settings of the same kind.
    """
    return model._meta.swapped


def names_of_link_fields(field: "AnyManyToManyField") -> tuple[str, str]:
    """The foreign keys of the model in between: to the field's own model, and to its target.

    ``m2m_field_name()`` and ``m2m_reverse_field_name()``. Django documents only ``through_fields``,
    which a field need not have.
    """
    return field.m2m_field_name(), field.m2m_reverse_field_name()


class ReceiverId(NamedTuple):
    """The ``dispatch_uid`` of a receiver that :func:`run_first` finds again."""

    recording: int
    field: str = ""


def run_first(signal: Signal) -> None:
    """Let receivers with a `ReceiverId` run before all others, which may change the instance.

    Relies on ``Signal.receivers``, whose items begin with the ids of receiver and sender, and on
    its lock and cache. Django documents no order of receivers.
    """
    with signal.lock:
        receivers: list[Any] = signal.receivers
        receivers.sort(key=lambda item: not isinstance(item[0][0], ReceiverId))
        signal.sender_receivers_cache.clear()
