"""The formats of ``dead_events``: for people, and for scripts."""

import json
import re
import time
from datetime import timedelta
from typing import Any, Final, NoReturn

from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.escapes import escape_invisible
from django_jsonbuffer.figures import format_duration
from django_jsonbuffer.letters import DeadLetter
from django_jsonbuffer.redaction import visible_error, visible_letter, visible_traceback

from .wording import format_counted

_WHITE_SPACE: Final = re.compile(r"[\t\n\r]")
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]+")


def format_for_people(bucket: Bucket, letter: DeadLetter, *, columns: int) -> str:
    """Three lines: where and when, the error, and the event. Each is cut to the columns."""
    age = format_duration(_age(letter)).replace("\xa0", " ")
    attempts = format_counted(letter.attempts, "failed attempt", "failed attempts")
    event = visible_letter(bucket, letter)
    # A character has at most four bytes.
    text = event.note if event.raw is None else event.raw[: 4 * columns].decode(errors="replace")
    lines = [
        f"{bucket.name}  {letter.id}  {age} ago, {attempts}",
        "  " + (" ".join(filter(None, visible_error(bucket, letter))) or "(no error)"),
        "  " + text,
    ]
    return "\n".join(_cut(escape_invisible(line), columns) for line in lines)


def format_as_json(bucket: Bucket, letter: DeadLetter) -> str:
    """An object in one line of ASCII. The event in it has every digit of its numbers."""
    event = visible_letter(bucket, letter)
    error, _ = visible_error(bucket, letter)
    facts: dict[str, Any] = {
        "bucket": bucket.name,
        "id": letter.id,
        "age_seconds": round(_age(letter).total_seconds(), 3),
        "first_failed": letter.first_failed and letter.first_failed.isoformat(),
        "last_failed": letter.last_failed and letter.last_failed.isoformat(),
        "attempts": letter.attempts,
        "batch": letter.batch,
        "error": error,
        "traceback": visible_traceback(bucket, letter),
        "note": event.note,
    }
    value = "null" if event.raw is None else _as_json_value(event.raw)
    line = json.dumps(facts).removesuffix("}") + f', "event": {value}}}'
    return line.replace("\x7f", "\\u007f")


def _age(letter: DeadLetter) -> timedelta:
    """How long ago the event was buried. The clock of Redis may be ahead of ours."""
    buried_ms = int(letter.id.partition("-")[0])
    return timedelta(milliseconds=max(0.0, time.time() * 1000 - buried_ms))


def _as_json_value(raw: bytes) -> str:
    """The same JSON, but in ASCII and in one line. A JSON text if `raw` is not JSON."""
    try:
        text = raw.decode()
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return json.dumps(raw.decode(errors="replace"))
    in_one_line = _WHITE_SPACE.sub(" ", text)  # no string of JSON contains these characters
    return _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], in_one_line)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _cut(line: str, columns: int) -> str:
    return line if len(line) <= columns else line[: columns - 1] + "…"
