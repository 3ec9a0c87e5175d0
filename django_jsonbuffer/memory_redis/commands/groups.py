"""Commands of the consumer groups of streams."""

from typing import Any, Final

from django_jsonbuffer.memory_redis.arguments import integer, value_of
from django_jsonbuffer.memory_redis.errors import NO_KEY, SYNTAX, ErrorReply
from django_jsonbuffer.memory_redis.keyspace import Keyspace
from django_jsonbuffer.memory_redis.streams import (
    LAST,
    Delivery,
    Group,
    Id,
    Stream,
    end_of,
    start_of,
)

from .streams import entry_of, stream_at

_NO_STREAM: Final = (
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use "
    "the MKSTREAM option to create an empty stream automatically."
)


def xack(data: Keyspace, key: bytes, name: bytes, id: bytes, *ids: bytes) -> int:
    if (group := stream_at(data, key).groups.get(name)) is None:
        return 0
    read = [Id.read(each) for each in (id, *ids)]
    return sum(group.deliveries.pop(each, None) is not None for each in read)


def xreadgroup(
    data: Keyspace, word: bytes, name: bytes, consumer: bytes, *options: bytes
) -> list[Any] | None:
    """``GROUP <name> <consumer> [COUNT <n>] STREAMS <key> >``: new entries, without waiting."""
    rest, limit = [*options], 0
    if rest[:1] and rest[0].upper() == b"COUNT":
        limit = integer(value_of(rest[1:]))
        del rest[:2]
    if (
        word.upper() != b"GROUP"
        or len(rest) != 3
        or (rest[0].upper(), rest[2]) != (b"STREAMS", b">")
    ):
        raise ErrorReply(f"{SYNTAX}, or a part of XREADGROUP that a Redis in memory does not know")
    stream, group = _group_at(data, rest[1], name, " in XREADGROUP with GROUP option")
    group.consumers.add(consumer)
    ids = stream.between(group.last.next(), LAST) if group.last != LAST else []
    for id in (ids := ids[:limit] if limit > 0 else ids):
        group.deliveries[id] = Delivery(consumer, data.now_ms(), 1)
        group.last = id
    return [[rest[1], [entry_of(stream, id) for id in ids]]] if ids else None


def xclaim(
    data: Keyspace, key: bytes, name: bytes, consumer: bytes, least: bytes, id: bytes, *rest: bytes
) -> list[Any]:
    """``<least idle ms> <id> … [IDLE <ms>] [RETRYCOUNT <n>] [FORCE] [JUSTID]``"""
    stream, group = _group_at(data, key, name)
    least_ms = integer(least, fault="ERR Invalid min-idle-time argument for XCLAIM")
    options, ids = [id, *rest], []
    while options and (read := Id.parse(options[0])) is not None:
        ids.append(read)
        del options[0]
    named = _claim_options(options)
    now, claimed = data.now_ms(), []
    group.consumers.add(consumer)
    for each in ids:
        if (delivery := _delivery_to_claim(stream, group, each, "FORCE" in named)) is None:
            continue
        if delivery.consumer is None or least_ms <= 0 or now - delivery.at_ms >= least_ms:
            group.deliveries[each] = delivery
            _hand_over(delivery, consumer, now, named)
            claimed.append(bytes(each) if "JUSTID" in named else entry_of(stream, each))
    return claimed


def _claim_options(options: list[bytes]) -> dict[str, int]:
    named: dict[str, int] = {}
    while options:
        given = options.pop(0).decode(errors="replace")
        name = given.upper()
        if name in ("FORCE", "JUSTID"):
            named[name] = 1
        elif name in ("IDLE", "RETRYCOUNT") and options:
            fault = f"ERR Invalid {name} option argument for XCLAIM"
            named[name] = integer(options.pop(0), fault=fault)
        else:
            raise ErrorReply(f"ERR Unrecognized XCLAIM option '{given}'")
    return named


def _delivery_to_claim(stream: Stream, group: Group, id: Id, is_forced: bool) -> Delivery | None:
    if id not in stream.entries:
        group.deliveries.pop(id, None)  # as Redis does since 7.0
        return None
    return group.deliveries.get(id) or (Delivery(None, 0, 1) if is_forced else None)


def _hand_over(delivery: Delivery, consumer: bytes, now: int, named: dict[str, int]) -> None:
    delivery.consumer = consumer
    idle = named.get("IDLE", 0)
    delivery.at_ms = now - idle if 0 <= idle <= now else now
    delivery.times = named.get("RETRYCOUNT", delivery.times + ("JUSTID" not in named))


def xpending(data: Keyspace, key: bytes, name: bytes, *options: bytes) -> list[Any]:
    """Without options, a summary. Else ``[IDLE <ms>] <first> <last> <count> [<consumer>]``."""
    if not options:
        return _summary(_group_at(data, key, name)[1])
    least_ms, rest = 0, [*options]
    if rest[0].upper() == b"IDLE":
        least_ms = integer(value_of(rest[1:]))
        del rest[:2]
    if len(rest) not in (3, 4):
        raise ErrorReply(SYNTAX)
    limit, first, last = max(integer(rest[2]), 0), start_of(rest[0]), end_of(rest[1])
    _, group = _group_at(data, key, name)
    now, found = data.now_ms(), []
    for id in group.pending():
        delivery = group.deliveries[id]
        idle = max(now - delivery.at_ms, 0)
        if first <= id <= last and idle >= least_ms and rest[3:] in ([], [delivery.consumer]):
            found.append([bytes(id), delivery.consumer, idle, delivery.times])
    return found[:limit]


def _summary(group: Group) -> list[Any]:
    ids = group.pending()
    if not ids:
        return [0, None, None, None]
    counts = {name: group.held_by(name) for name in sorted(group.consumers)}
    holders = [[name, b"%d" % count] for name, count in counts.items() if count]
    return [len(ids), bytes(ids[0]), bytes(ids[-1]), holders]


def xgroup_create(data: Keyspace, key: bytes, name: bytes, last: bytes, *options: bytes) -> str:
    if options not in ((), (b"MKSTREAM",)):
        raise ErrorReply(SYNTAX)
    if (stream := data.get(key, Stream)) is None and not options:
        raise ErrorReply(_NO_STREAM)
    group = Group(_last_of(stream or Stream(), last))
    stream = data.at(key, Stream)
    if name in stream.groups:
        raise ErrorReply("BUSYGROUP Consumer Group name already exists")
    stream.groups[name] = group
    return "OK"


def xgroup_setid(data: Keyspace, key: bytes, name: bytes, last: bytes) -> str:
    stream, group = _group_to_change(data, key, name)
    group.last = _last_of(stream, last)
    return "OK"


def xgroup_delconsumer(data: Keyspace, key: bytes, name: bytes, consumer: bytes) -> int:
    _, group = _group_to_change(data, key, name)
    group.consumers.discard(consumer)
    own = [id for id, held in group.deliveries.items() if held.consumer == consumer]
    for id in own:
        del group.deliveries[id]
    return len(own)


def xgroup_destroy(data: Keyspace, key: bytes, name: bytes) -> int:
    if (stream := data.get(key, Stream)) is None:
        raise ErrorReply(_NO_STREAM)
    return int(stream.groups.pop(name, None) is not None)


def xinfo_groups(data: Keyspace, key: bytes) -> list[Any]:
    if (stream := data.get(key, Stream)) is None:
        raise ErrorReply(NO_KEY)
    return [
        [
            *(b"name", name, b"consumers", len(group.consumers)),
            *(b"pending", len(group.deliveries), b"last-delivered-id", bytes(group.last)),
        ]
        for name, group in sorted(stream.groups.items())
    ]


def xinfo_consumers(data: Keyspace, key: bytes, name: bytes) -> list[Any]:
    if (stream := data.get(key, Stream)) is None:
        raise ErrorReply(NO_KEY)
    if (group := stream.groups.get(name)) is None:
        raise _no_group(key, name)
    return [[b"name", each, b"pending", group.held_by(each)] for each in sorted(group.consumers)]


def _group_at(data: Keyspace, key: bytes, name: bytes, where: str = "") -> tuple[Stream, Group]:
    stream = data.get(key, Stream)
    if stream is None or name not in stream.groups:
        shown, group = key.decode(errors="replace"), name.decode(errors="replace")
        raise ErrorReply(f"NOGROUP No such key '{shown}' or consumer group '{group}'{where}")
    return stream, stream.groups[name]


def _group_to_change(data: Keyspace, key: bytes, name: bytes) -> tuple[Stream, Group]:
    if (stream := data.get(key, Stream)) is None:
        raise ErrorReply(_NO_STREAM)
    if name not in stream.groups:
        raise _no_group(key, name)
    return stream, stream.groups[name]


def _no_group(key: bytes, name: bytes) -> ErrorReply:
    shown, group = key.decode(errors="replace"), name.decode(errors="replace")
    return ErrorReply(f"NOGROUP No such consumer group '{group}' for key name '{shown}'")


def _last_of(stream: Stream, text: bytes) -> Id:
    return stream.last if text == b"$" else Id.read(text)


COMMANDS: Final = (
    *(xack, xreadgroup, xclaim, xpending, xinfo_groups, xinfo_consumers),
    *(xgroup_create, xgroup_setid, xgroup_delconsumer, xgroup_destroy),
)
