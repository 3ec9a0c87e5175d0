"""From Python value to JSON bytes, and back.

What cannot be read back is refused at append, where the caller still knows what it was. The bytes
made here are the bytes that reach the processor's decoder: nothing on the way touches them.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.models import Model
from django.utils.duration import duration_iso_string
from django.utils.functional import Promise
from django.utils.module_loading import import_string

from .exceptions import BufferMisconfigured, EventTooLarge, InvalidEvent

MAX_DEPTH: Final = 100
"""Arrays and objects within each other in one event. ``json`` and ``cjson`` fail at about 1,000."""

_STRING_OR_BRACKET: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)
_STRING_BRACKET_OR_COMMA: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]', re.DOTALL)
_OR_HALF_A_STRING: Final = re.compile(_STRING_BRACKET_OR_COMMA.pattern + rb'|"', re.DOTALL)
_DIGITS_TO_ZERO: Final = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))


class JSONEncoder:
    """Encodes with the standard library.

    Subclass it and extend :meth:`default` for types of your own, then name the subclass in
    ``JSONBUFFER["ENCODER"]``.
    """

    def __init__(self) -> None:
        self._dumps = json.JSONEncoder(
            allow_nan=False,
            ensure_ascii=False,
            separators=(",", ":"),
            default=self.default,
        ).encode

    def default(self, value: object) -> object:
        """A stand-in, of types that JSON has, for a value of another type.

        datetime, date, time: ISO 8601 to the microsecond, UTC as ``Z``. timedelta: ISO 8601.
        Decimal, UUID and lazy strings: ``str``. Enum: its value. dataclass: an object of its
        fields. Whatever has ``model_dump`` (a pydantic model): what that returns in JSON mode.
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
        """JSON bytes, in UTF-8 and with no white space between tokens.

        Raises :class:`InvalidEvent` for NaN, Infinity, lone surrogates, circular structures,
        types that JSON does not have, and more than :data:`MAX_DEPTH` levels.
        """
        try:
            encoded = self._to_bytes(event)
        except RecursionError as error:
            raise InvalidEvent(f"The event is deeper than {MAX_DEPTH} levels.") from error
        except UnicodeEncodeError as error:
            raise InvalidEvent(
                "The event holds a lone surrogate, which is no text: UTF-8 cannot hold it."
            ) from error
        except MemoryError as error:
            raise InvalidEvent("The event is so large that no memory is left for it.") from error
        except Exception as error:
            said = told(error)
            if isinstance(error, ValueError) and "not JSON compliant" in said:
                raise InvalidEvent("NaN and Infinity are not JSON. Use None instead.") from error
            raise InvalidEvent(f"The event cannot be encoded as JSON: {said}") from error
        if _is_deeper_than(MAX_DEPTH, encoded):
            raise InvalidEvent(f"The event is deeper than {MAX_DEPTH} levels.")
        return encoded

    def _to_bytes(self, event: object) -> bytes:
        return self._dumps(event).encode()

    def decode(self, array: bytes) -> list[Any]:
        """The events of a batch. Raises ``ValueError`` when the bytes are no JSON array."""
        try:
            return _as_list(_DECODER.decode(array.decode()))
        except RecursionError:
            if _is_deeper_than(_MAX_DEPTH_OF_A_BATCH, array):
                raise ValueError("a batch must not be so deep") from None
            raise


class OrjsonEncoder(JSONEncoder):
    """Encodes and decodes with orjson, which is faster: the same values in, the same out."""

    def __init__(self) -> None:
        super().__init__()
        import orjson

        self._orjson = orjson
        self._options = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS

    def _to_bytes(self, event: object) -> bytes:
        try:
            encoded = self._orjson.dumps(event, self.default, self._options)
        except self._orjson.JSONEncodeError:
            # Integers over 64 bits and keys that are not text: the standard library takes them,
            # and says of all else what is wrong.
            return super()._to_bytes(event)
        # orjson writes NaN and Infinity as null: only the standard library can tell them apart.
        return super()._to_bytes(event) if b"null" in encoded else encoded

    def default(self, value: object) -> object:
        # orjson hands on subclasses of float and tuple (a namedtuple), which json takes itself.
        if isinstance(value, tuple):
            return list(value)
        if isinstance(value, float):
            return float(value)
        return super().default(value)

    def decode(self, array: bytes) -> list[Any]:
        # orjson reads integers over 64 bits as floats, and refuses lone surrogates.
        digits = array.translate(_DIGITS_TO_ZERO)
        if b"0" * 20 in digits or b"-" + b"0" * 19 in digits:
            return super().decode(array)
        try:
            return _as_list(self._orjson.loads(array))
        except self._orjson.JSONDecodeError:
            return super().decode(array)


def told(error: Exception) -> str:
    """What an error says, or its kind where it says nothing or cannot."""
    try:
        return str(error) or type(error).__qualname__
    except Exception:  # noqa: BLE001  (of somebody else's class, anything)
        return type(error).__qualname__


def check_sizes(encoded: Sequence[bytes], max_event_bytes: int) -> None:
    """Raises :class:`EventTooLarge` for an event of more bytes."""
    if (largest := max(map(len, encoded), default=0)) > max_event_bytes:
        raise EventTooLarge(
            f"The event has {largest:,} bytes as JSON, more than the {max_event_bytes:,} of "
            "its bucket's max_event_bytes."
        )


class _Span(NamedTuple):
    """Where an event lies in an array."""

    start: int
    end: int
    behind: int
    """Behind the comma or bracket that ends it."""

    is_last: bool
    """Whether that was the bracket of the array."""


def spans(array: bytes) -> list[tuple[int, int]]:
    """Where each event of a JSON array begins and ends.

    Reads no more of it than that takes, so an event may be what nothing can decode. Raises
    ``ValueError`` when the brackets are those of no array.
    """
    found = [*_spans(array, _STRING_BRACKET_OR_COMMA)]
    if not found or not found[-1].is_last or array[found[-1].behind :].strip():
        raise ValueError("its brackets are those of no JSON array")
    return [(span.start, span.end) for span in found]


def leading_events(array: bytes) -> Iterator[tuple[bytes, bool]]:
    """The events of a JSON array that may have been cut anywhere, and whether each is whole.

    They are told apart by brackets and commas alone, and may be what nothing can decode.
    """
    behind = len(array) - len(array.lstrip().removeprefix(b"["))
    for span in _spans(array, _OR_HALF_A_STRING):
        yield array[span.start : span.end], True
        if span.is_last:
            return
        behind = span.behind
    if rest := array[behind:].strip():
        yield rest, False


def _spans(array: bytes, tokens: re.Pattern[bytes]) -> Iterator[_Span]:
    """The events that end with a comma or bracket, as far as the brackets are those of an array.

    With half a string among the tokens, not beyond one that was cut.
    """
    depth = start = 0
    for token in tokens.finditer(array):
        kind = token[0]
        if kind == b'"' or (depth == 0 and kind != b"["):
            return
        if kind in (b"[", b"{"):
            depth += 1
            start = start if depth > 1 else token.end()
        elif kind in (b"]", b"}"):
            depth -= 1
        if depth == 0 or (depth == 1 and kind == b","):
            yield _Span(*_stripped(array, start, token.start()), token.end(), depth == 0)
            start = token.end()
        if depth == 0:
            return


def _stripped(array: bytes, start: int, end: int) -> tuple[int, int]:
    event = array[start:end]
    return start + len(event) - len(event.lstrip()), start + len(event.rstrip())


@cache
def encoder(name: str) -> JSONEncoder:
    """The encoder that ``JSONBUFFER["ENCODER"]`` names, made once."""
    shorthands = {"json": JSONEncoder, "orjson": OrjsonEncoder}
    try:
        cls = shorthands[name] if name in shorthands else import_string(name)
        if not (isinstance(cls, type) and issubclass(cls, JSONEncoder)):
            raise BufferMisconfigured(
                f"JSONBUFFER['ENCODER'] names {name!r}, which is no subclass of "
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
    datetime: _iso_utc,  # before date, whose subclass it is
    date: date.isoformat,
    time: _iso_utc,
    timedelta: duration_iso_string,
    Decimal: str,
    UUID: str,
    Promise: str,
    Enum: lambda member: member.value,
}


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)

_MAX_DEPTH_OF_A_BATCH: Final = 200
"""Which is what the scripts accept of another client, the array of the batch included."""


def _as_list(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    raise ValueError(f"a batch must be a JSON array, not {type(value).__name__}")


def _is_deeper_than(limit: int, encoded: bytes) -> bool:
    # Each level has two brackets.
    if len(encoded) <= 2 * limit or encoded.count(b"[") + encoded.count(b"{") <= limit:
        return False
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(encoded):
        if token[0] in b"[{":
            depth += 1
            if depth > limit:
                return True
        elif token[0] in b"]}":
            depth -= 1
    return False
