"""Field classes with columns that keep less than they are given."""

from typing import Any

from tests.differential.custom_fields import Code
from tests.differential.field_classes import CharField, DateTimeField, FloatField


class SecondsField(DateTimeField):
    """A column that rounds to whole seconds."""

    def db_type(self, connection: Any) -> str:
        types = {"postgresql": "timestamp(0) with time zone", "mysql": "datetime(0)"}
        return types.get(connection.vendor, "datetime")


class RealField(FloatField):
    """A column of 32 bits."""

    def db_type(self, connection: Any) -> str:
        return {"postgresql": "real", "mysql": "float"}.get(connection.vendor, "real")


class PaddedField(CharField):
    """A column of fixed width, which PostgreSQL pads."""

    def db_type(self, connection: Any) -> str:
        return "char(40)"


class CaselessField(CharField):
    """A column that compares without regard to case, and keeps the case."""

    def db_type(self, connection: Any) -> str:
        types = {"postgresql": "citext", "sqlite": "varchar(100) COLLATE NOCASE"}
        return types.get(connection.vendor, "varchar(100) COLLATE utf8mb4_general_ci")


class CodeField(CharField):
    """Reads an object of a class of the project. It is used for keys."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else Code(value)

    def to_python(self, value: Any) -> Any:
        if value is None or isinstance(value, Code):
            return value
        return Code(str(value).removeprefix("C-").lower())

    def get_prep_value(self, value: Any) -> Any:
        code = self.to_python(value)
        return code.text if isinstance(code, Code) else code
