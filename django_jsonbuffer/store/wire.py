"""Commands in the Redis protocol, as arrays of bulk strings."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

PIECE_BYTES: Final = 1024 * 1024
"""A command is sent in pieces of this size, because the socket timeout holds for each piece."""


class Packed(NamedTuple):
    """Arguments that many commands share, encoded for the wire once."""

    args: tuple[bytes | str | int, ...]
    wire: bytes


def packed(*args: bytes | str | int) -> Packed:
    encoded = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
    return Packed(args, b"".join([b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in encoded]))


def unpacked(args: Iterable[bytes | Packed]) -> Iterator[bytes | str | int]:
    return chain.from_iterable(arg.args if isinstance(arg, Packed) else (arg,) for arg in args)


def on_the_wire(
    args: Iterable[bytes | Packed], behind: Packed | None = None
) -> Sequence[bytes | memoryview]:
    """A command as it is sent, in pieces. `behind` is a command that is sent with it."""
    count, parts = 0, [b""]
    for arg in args:
        if isinstance(arg, Packed):
            count += len(arg.args)
            parts.append(arg.wire)
        else:
            count += 1
            parts += (b"$%d\r\n" % len(arg), arg, b"\r\n")
    parts[0] = b"*%d\r\n" % count
    if behind is not None:
        parts.append(b"*%d\r\n%b" % (len(behind.args), behind.wire))
    command = b"".join(parts)
    if len(command) <= PIECE_BYTES:
        return [command]
    view = memoryview(command)
    return [view[at : at + PIECE_BYTES] for at in range(0, len(command), PIECE_BYTES)]
