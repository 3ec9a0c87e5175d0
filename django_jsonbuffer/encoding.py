"""From Python value to JSON bytes, and back.

An append refuses a value that could not be read back, because its caller can still correct it. The
bytes that are made here reach the decoder of the worker unchanged.
"""

import dataclasses
import json
from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, Final
from uuid import UUID

from django.db.models import Model
from django.utils.duration import duration_iso_string
from django.utils.functional import Promise
from django.utils.module_loading import import_string

from .exceptions import BufferMisconfigured, EventTooLarge, InvalidEvent
from .json_arrays import DECODER, MAX_DEPTH_OF_A_BATCH, is_deeper_than
from .options import Options
from .plain_values import as_plain, is_plain
from .summaries import kind_of, message_of

MAX_DEPTH: Final = 100
"""Most levels of arrays and objects in one event. It is well below the about 1,000 levels at which
``json`` and ``cjson`` fail."""

_SHORTEST_TOO_DEEP: Final = 2 * MAX_DEPTH
_DIGITS_TO_ZERO: Final = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))


class JSONEncoder:
    """Encodes events with the standard library's ``json``.

    Subclass it and extend :meth:`default` for types of your own, then name the subclass in
    ``JSONBUFFER["ENCODER"]``.
    """

    def __init__(self) -> None:
        self._dumps = json.JSONEncoder(
            allow_nan=False,
            ensure_ascii=False,
            separators=(",", ":"),
            default=self._stand_in,
        ).encode

    def default(self, value: object) -> object:
        """A JSON value that stands for a value of another type.

        datetime, date, time: ISO 8601 to the microsecond, UTC as ``Z``. timedelta: ISO 8601.
        Decimal, UUID and lazy strings: ``str``. Enum: its value. dataclass: an object of its
        fields. An object with ``model_dump`` (a pydantic model): its dump in JSON mode.
        """
        if convert := _CONVERSIONS.get(type(value)):
            return convert(value)
        for kind, convert in _CONVERSIONS.items():
            if isinstance(value, kind):
                return convert(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
            return dump(mode="json")
        raise TypeError(
            f"{type(value).__qualname__} is not a type that JSON can hold{_way_out(value)}"
        )

    def encode(self, event: object) -> bytes:
        """JSON bytes in UTF-8, without white space between tokens.

        Raises :class:`InvalidEvent` for NaN, Infinity, lone surrogates, circular structures,
        types that JSON does not have, and more than :data:`MAX_DEPTH` levels.
        """
        try:
            encoded = self._to_bytes(event)
        except RecursionError as error:
            raise InvalidEvent(f"The event is deeper than {MAX_DEPTH} levels.") from error
        except UnicodeEncodeError as error:
            raise InvalidEvent(
                "The event holds a lone surrogate, which is not text: UTF-8 cannot encode it."
            ) from error
        except MemoryError as error:
            raise InvalidEvent("The event is so large that no memory is left for it.") from error
        except Exception as error:
            message = _message(error)
            if isinstance(error, ValueError) and "not JSON compliant" in message:
                raise InvalidEvent("NaN and Infinity are not JSON. Use None instead.") from error
            raise InvalidEvent(f"The event cannot be encoded as JSON: {message}") from error
        if len(encoded) > _SHORTEST_TOO_DEEP and is_deeper_than(MAX_DEPTH, encoded):
            raise InvalidEvent(f"The event is deeper than {MAX_DEPTH} levels.")
        return encoded

    def _to_bytes(self, event: object) -> bytes:
        return self._dumps(as_plain(event)).encode()

    def _stand_in(self, value: object) -> object:
        """A value of JSON's own types for a value that the encoder library does not know."""
        known = type(value) in _CONVERSIONS or is_plain(value)
        return as_plain(self.default(value) if known else value)

    def decode(self, array: bytes) -> list[Any]:
        """The events of a batch. Raises ``ValueError`` if the bytes are not a JSON array."""
        try:
            return _as_list(DECODER.decode(array.decode()))
        except RecursionError:
            if is_deeper_than(MAX_DEPTH_OF_A_BATCH, array):
                raise ValueError("a batch must not be so deep") from None
            raise


class OrjsonEncoder(JSONEncoder):
    """Encodes and decodes with orjson, which is faster. The values are the same."""

    def __init__(self) -> None:
        super().__init__()
        import orjson

        self._orjson = orjson
        self._options = (
            orjson.OPT_PASSTHROUGH_DATETIME
            | orjson.OPT_PASSTHROUGH_DATACLASS
            | orjson.OPT_PASSTHROUGH_SUBCLASS
        )

    def _to_bytes(self, event: object) -> bytes:
        try:
            encoded = self._orjson.dumps(event, self._stand_in, self._options)
        except self._orjson.JSONEncodeError:
            # The standard library accepts integers over 64 bits and keys that are not text. Its
            # error says what is wrong with any other value.
            return super()._to_bytes(event)
        # orjson writes NaN and Infinity as null. The standard library refuses them.
        return super()._to_bytes(event) if b"null" in encoded else encoded

    def decode(self, array: bytes) -> list[Any]:
        # orjson reads integers over 64 bits as floats, and refuses lone surrogates.
        digits = array.translate(_DIGITS_TO_ZERO)
        if b"0" * 20 in digits or b"-" + b"0" * 19 in digits:
            return super().decode(array)
        try:
            return _as_list(self._orjson.loads(array))
        except self._orjson.JSONDecodeError:
            return super().decode(array)


def encode_events(
    events: Iterable[object], *, encoder: JSONEncoder, options: Options, bucket: str
) -> list[bytes]:
    """The events as JSON bytes, all or none.

    Raises :class:`InvalidEvent` for an event that JSON cannot hold or that the schema refuses, and
    :class:`EventTooLarge` for an event with more bytes than ``max_event_bytes``.
    """
    if options.schema is not None:
        events = [_validated(event, options.schema, bucket) for event in events]
    encoded = [*map(encoder.encode, events)]
    if encoded and (largest := max(map(len, encoded))) > options.max_event_bytes:
        raise EventTooLarge(
            f"The event has {largest:,} bytes as JSON. The bucket's max_event_bytes allows "
            f"{options.max_event_bytes:,}."
        )
    return encoded


def is_single_event(events: object) -> bool:
    """Whether the value is one event: a dict or a text is one, although it can be iterated."""
    is_text_or_dict = isinstance(events, Mapping | str | bytes | bytearray | memoryview)
    return is_text_or_dict or not isinstance(events, Iterable) or hasattr(events, "model_dump")


@cache
def encoder(name: str) -> JSONEncoder:
    """The encoder with this name in ``JSONBUFFER["ENCODER"]``. It is made once."""
    shorthands = {"json": JSONEncoder, "orjson": OrjsonEncoder}
    try:
        cls = shorthands[name] if name in shorthands else import_string(name)
        if not (isinstance(cls, type) and issubclass(cls, JSONEncoder)):
            raise BufferMisconfigured(
                f"JSONBUFFER['ENCODER'] names {name!r}, which is not a subclass of "
                "django_jsonbuffer.encoding.JSONEncoder."
            )
        return cls()
    except ImportError as error:
        raise BufferMisconfigured(
            f"JSONBUFFER['ENCODER'] names {name!r}, which cannot be imported: {error}. "
            + (
                "Install django-jsonbuffer[orjson]."
                if name == "orjson"
                else "Use 'json', 'orjson' or the dotted path of a subclass of JSONEncoder."
            )
        ) from error


def _validated(event: object, schema: Callable[[Any], object], bucket: str) -> object:
    try:
        return schema(event)
    except Exception as error:
        raise InvalidEvent(
            f"The schema of bucket {bucket!r} refuses the event: {_message(error)}"
        ) from error


def _message(error: Exception) -> str:
    """The message of an error, or its class if it has no message or cannot give it."""
    return message_of(error) or kind_of(error)


def _way_out(value: object) -> str:
    if isinstance(value, set | frozenset | Generator):
        return ": make it a list"
    if isinstance(value, bytes | bytearray | memoryview):
        return ": decode it, or use base64"
    if isinstance(value, Model):
        return ": append its primary key, or a dict of its fields"
    return ""


def _iso_utc(value: datetime | time) -> str:
    text = value.isoformat()
    return f"{text.removesuffix('+00:00')}Z" if text.endswith("+00:00") else text


_CONVERSIONS: Final[Mapping[type, Callable[[Any], object]]] = {
    Enum: lambda member: member.value,  # first, because an Enum may also be one of the others
    datetime: _iso_utc,  # before date, because it is a subclass of date
    date: date.isoformat,
    time: _iso_utc,
    timedelta: duration_iso_string,
    Decimal: str,
    UUID: str,
    Promise: str,
}


def _as_list(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    raise ValueError(f"a batch must be a JSON array, not {type(value).__name__}")
