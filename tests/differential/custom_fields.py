"""Field classes of a project: they prepare, convert, hide or refuse values."""

import enum
import json
from typing import Any, NamedTuple

from django.db import models
from django.utils.text import slugify

from tests.differential.field_classes import CharField, IntegerField, TextField


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


class Point(NamedTuple):
    x: int
    y: int


class Money:
    """A value of a type that JSON does not have."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    def __hash__(self) -> int:
        return hash(self.cents)

    def __str__(self) -> str:
        return f"{self.cents} cents"


class Code:
    """A key that is an object."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Code) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return f"C-{self.text}"


class SquashedField(CharField):
    """Prepares its value: without white space, in lower case."""

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else "".join(str(value).split()).lower()


class ClippedField(IntegerField):
    """Prepares its value for a save only."""

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        prepared = super().get_db_prep_save(value, connection)
        return min(prepared, 50) if isinstance(prepared, int) else prepared


class SluggedField(CharField):
    """Saves another value than the instance holds."""

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = super().pre_save(model_instance, add)
        return slugify(value) if isinstance(value, str) else value


class CountedField(IntegerField):
    """Sets the value of the instance at each save."""

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = getattr(model_instance, self.attname)
        value = value + 1 if isinstance(value, int) else 1
        setattr(model_instance, self.attname, value)
        return value


class MoneyField(IntegerField):
    """Reads an object of a class of the project."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else Money(value)

    def to_python(self, value: Any) -> Any:
        return value if value is None or isinstance(value, Money) else Money(int(value))

    def get_prep_value(self, value: Any) -> Any:
        return value.cents if isinstance(value, Money) else super().get_prep_value(value)

    def value_to_string(self, obj: Any) -> str:
        value = self.value_from_object(obj)
        return str(value.cents if isinstance(value, Money) else value)


class ColorField(CharField):
    """Reads a member of an enum that is not a text."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else Color(value)

    def to_python(self, value: Any) -> Any:
        return value if value is None or isinstance(value, Color) else Color(value)

    def get_prep_value(self, value: Any) -> Any:
        return value.value if isinstance(value, Color) else value

    def value_to_string(self, obj: Any) -> str:
        return str(self.get_prep_value(self.value_from_object(obj)))


class WordsField(TextField):
    """Reads a list, and has no `to_python`."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else value.split(" ")

    def get_prep_value(self, value: Any) -> Any:
        return " ".join(value) if isinstance(value, list | tuple) else value


class PointField(CharField):
    """Reads a named tuple."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else Point(*map(int, value.split(",")))

    def get_prep_value(self, value: Any) -> Any:
        return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


class SetField(TextField):
    """Reads a frozenset, of which JSON has none."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else frozenset(value.split(" "))

    def get_prep_value(self, value: Any) -> Any:
        return " ".join(sorted(value)) if isinstance(value, set | frozenset) else value

    def value_to_string(self, obj: Any) -> str:
        return str(self.get_prep_value(self.value_from_object(obj)))


class DocumentField(TextField):
    """JSON in a column of text."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else json.loads(value)

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else json.dumps(value)


class SecretField(TextField):
    """Stores an unreadable text, and reads the readable one."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else value[::-1]

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        prepared = super().get_db_prep_save(value, connection)
        return prepared[::-1] if isinstance(prepared, str) else prepared


class NullableField(CharField):
    """Stores NULL for an empty text, and reads an empty text for NULL."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> str:
        return value or ""

    def get_prep_value(self, value: Any) -> Any:
        return super().get_prep_value(value) or None


class UpperField(CharField):
    """Lets the database change the value."""

    def get_placeholder(self, value: Any, compiler: Any, connection: Any) -> str:
        return "UPPER(%s)"

    def get_placeholder_sql(self, value: Any, compiler: Any, connection: Any) -> Any:
        """The same for Django 6.1."""
        if hasattr(value, "as_sql"):
            sql, params = compiler.compile(value)
            return f"UPPER({sql})", params
        return "UPPER(%s)", (value,)


class StrictField(CharField):
    """Refuses all but texts when it cleans a value, but saves them."""

    def to_python(self, value: Any) -> Any:
        if value is not None and not isinstance(value, str):
            raise TypeError("not a text")
        return value

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else str(value)


class _Shouting:
    """Holds the value in another attribute of the instance, in upper case."""

    def __init__(self, field: Any) -> None:
        self.field = field

    def __get__(self, instance: Any, owner: Any) -> Any:
        if instance is None:
            return self
        return instance.__dict__.get(f"_{self.field.attname}_shouted")

    def __set__(self, instance: Any, value: Any) -> None:
        value = value.upper() if isinstance(value, str) else value
        instance.__dict__[f"_{self.field.attname}_shouted"] = value


class ShoutedField(CharField):
    def contribute_to_class(self, cls: Any, name: str, private_only: bool = False) -> None:
        super().contribute_to_class(cls, name, private_only)
        setattr(cls, self.attname, _Shouting(self))
