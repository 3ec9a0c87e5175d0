"""Mutants of the scripts: each statement left out, and some made by hand. What kills them?

``python -m tests.faults.mutants`` makes one after the other, and lets the search look for a broken
promise; on those that it does not kill, it runs the tests of the scripts. It prints one line for
each, and takes some hours on two cores. With names of files, such as ``renew.lua`` or
``shared/leases.lua``, or ``file:line``, it does so for these alone. docs/faults.md says which kinds
survive, and why they may.
"""

import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Final, NamedTuple

import redis
from django.conf import settings

import django_jsonbuffer
from example_project.embedded_redis import EmbeddedRedis
from tests.faults import mutated

FOLDER: Final = Path(django_jsonbuffer.__file__).parent / "scripts"
SEEDS: Final = 300
TESTS: Final = [
    *("store/test_pieces", "store/test_fences", "store/test_outages", "store/test_clocks"),
    *("store/test_store", "store/test_status", "store/test_deliveries", "store/test_history"),
    *("store/test_appends", "store/test_dead_letters", "store/test_pending"),
    *("store/test_earlier_version", "store/test_origins", "store/test_traces"),
    *("store/test_open_counts", "store/test_permissions", "checks/test_permissions"),
    *("store/test_refused_commands", "store/test_catalog_entries", "store/test_server"),
    *("store/test_errors", "draining/test_drain", "draining/test_failures"),
    *("draining/test_leases", "draining/test_acks", "draining/test_batches"),
    *("draining/test_processor_transactions", "test_dead_letters", "test_pending_events"),
    *("store/test_letter_groups", "test_letter_groups"),
    *("test_seed", "test_faults"),
]

_NO_STATEMENT: Final = re.compile(r"\s*(--.*|end[,)]*|else|[})]+,?|)")

BY_HAND: Final = [
    ("append.lua", "last < string.sub(stamp, 1, DIGITS)", "last < stamp"),
    ("append.lua", "and last < string.sub(stamp, 1, DIGITS)", ""),
    ("append.lua", "and not earlier and", "and"),
    ("append.lua", " and not has_restarted then", " then"),
    ("append.lua", "batch.bytes + total_bytes >= batch_bytes or has_restarted", "false"),
    ("append.lua", "batch_size == math.huge or seal", "seal"),
    ("append.lua", ", 'origin', batch.origin or '', 'traces'", ", 'traces'"),
    ("append.lua", ", 'traces', batch.traces or '')", ")"),
    ("append.lua", "new_origin(now, token, at), nil", "new_origin(now, token, at), batch.traces"),
    ("append.lua", "present > 0 and 'traces' or 'origin'", "'traces'"),
    ("append.lua", "present > 0 and 'traces' or 'origin'", "'origin'"),
    ("append.lua", "local more = ' ' .. count", "local more = ' ' .. new_count"),
    ("append.lua", "and present + #more <= MOST_TRACES_BYTES", ""),
    ("append.lua", "and earlier_traces and", "and"),
    ("append.lua", "and #earlier_traces + #more <= MOST_TRACES_BYTES", ""),
    ("append.lua", "' ' .. batch.count .. ' ' .. traces", "' 0 ' .. traces"),
    ("append.lua", "ARGV[at + splices]", "ARGV[FIRST_ARGV + splices]"),
    ("append.lua", " or #ARGV == FIRST_ARGV + 1 and tonumber(counts))", ")"),
    ("append.lua", "FIRST_ARGV + 1 and tonumber(counts))", "FIRST_ARGV + 1)"),
    ("replay.lua", "trace, #events)", "trace, 0)"),
    ("shared/noted_open.lua", "has_traces and known[4] or nil", "known[4] or nil"),
    ("append.lua", "count > 0 and new_count", "new_count"),
    ("append.lua", "new_count < batch_size", "new_count <= batch_size"),
    ("append.lua", "new_bytes < batch_bytes", "new_bytes <= batch_bytes"),
    ("append.lua", "    and #noted == NOTED_BYTES + bytes - from\n", ""),
    ("append.lua", "is_usual = held and new_count", "is_usual = new_count"),
    ("append.lua", "new_count + held.sealed <=", "new_count + held.sealed - 1 <="),
    ("append.lua", "bytes + size + held.bytes", "bytes + held.bytes"),
    ("append.lua", "size >= TAIL and first_splice", "true and first_splice"),
    ("append.lua", "string.sub(tail, -TAIL)", "tail"),
    ("append.lua", "tonumber(number) < sequence then", "tonumber(number) <= sequence then"),
    ("append.lua", "tonumber(number) < sequence then", "tonumber(number) ~= sequence then"),
    ("append.lua", "tonumber(number) == sequence and (rest", "(rest"),
    ("append.lua", "rest == '' or rest == ' ' .. nonce", "rest == ''"),
    ("append.lua", "rest == '' or rest == ' ' .. nonce", "rest == ' ' .. nonce"),
    ("append.lua", "is_same or nonce == '' and (", "is_same or ("),
    ("append.lua", "is_same or nonce == '' and (rest == '' or rest == ' ')", "is_same"),
    ("append.lua", "and (rest == '' or rest == ' ')", ""),
    ("append.lua", " or redis.call('HGET', old, producer)", ""),
    ("append.lua", " or earlier and outcome_after(redis.call('GET', earlier))", ""),
    ("append.lua", "batch.noted) == 0 and 1 or 0", "batch.noted) and 0"),
    ("append.lua", "batch_size == math.huge and batch", "batch"),
    ("append.lua", "math.abs(now - since) > remembered_ms", "now - since > remembered_ms"),
    ("append.lua", "'since', since or now", "'since', now"),
    ("append.lua", "noted or ''", "''"),
    ("append.lua", "pending + total <= max_pending", "pending + total < max_pending"),
    ("append.lua", "if is_claimed or not events then", "if not events then"),
    ("append.lua", "#splice - 1 > batch_bytes", "#splice - 1 > batch_bytes * 2"),
    ("append.lua", "batch.count + count > batch_size", "batch.count + count > batch_size + 1"),
    ("append.lua", "batch.count >= batch_size or", "batch.count > batch_size or"),
    ("append.lua", "pending - batch.count, bytes", "pending, bytes"),
    ("append.lua", "{ 'dropped', is_new", "{ 'stored', is_new"),
    ("claim.lua", "'IDLE', lease_ms, start", "'IDLE', 0, start"),
    ("claim.lua", "reply = claim_delivered(true, '-', '+', 1, worker)\n", "\n"),
    ("claim.lua", "not is_paused and not waits", "not waits"),
    ("claim.lua", "not is_paused and not waits", "not is_paused"),
    ("claim.lua", "start, '+', most, NOBODY)", "start, '+', most)"),
    ("claim.lua", "if doubt > 0 then return claim", "if true then return claim"),
    ("claim.lua", "if successes == past.successes", "if false"),
    ("claim.lua", "past.changed == '' and 2 or 3", "2"),
    ("claim.lua", "past.changed == '' and 2 or 3", "3"),
    ("claim.lua", "if past.outlived == '' then", "if true then"),
    ("claim.lua", "if is_once and tries == 0", "if is_once"),
    ("claim.lua", "if is_once and tries == 0", "if tries == 0"),
    ("claim.lua", "' %.0f '", "'%.0f'"),
    ("claim.lua", "math.min(past.successes, successes)", "past.successes"),
    ("claim.lua", "'^%x*$'", "'^.*$'"),
    ("claim.lua", "outage.retry > 0 and outage.tries or 0", "outage.tries"),
    ("claim.lua", "outage.alone % 40 > 19", "outage.alone % 40 <= 19"),
    ("claim.lua", "and outage.alone > 20", ""),
    ("claim.lua", "tries > 0 and tries % 8 == 0", "false"),
    ("claim.lua", "tries % 2 == 1", "false"),
    ("claim.lua", "tries % 2 == 1", "tries > 0"),
    ("claim.lua", "tries > 0 or prefers_new", "tries > 0"),
    ("claim.lua", "{ claim_newest, claim_sealed,", "{ claim_sealed, claim_newest,"),
    ("claim.lua", "{ claim_sealed, claim_open, claim_piece,", "{ claim_sealed, claim_open,"),
    ("claim.lua", "{ claim_sealed, claim_open, claim_piece,", "{ claim_sealed, claim_piece,"),
    ("claim.lua", "if held.entries == 0 then return { claim_open } end", ""),
    ("claim.lua", "(not is_once and after ~= '-' and", "(after ~= '-' and"),
    ("claim.lua", "(not is_once and after ~= '-' and claim_behind('-'))", "nil"),
    ("claim.lua", "is_once and after or '-'", "after"),
    ("claim.lua", "reply and reply.err", "false"),
    ("claim.lua", "{ claim_piece, claim_ready, claim_sealed, c", "{ claim_ready, claim_sealed, c"),
    ("claim.lua", "UNTRIED_MS, '-', '+', 1, NOBODY", "lease_ms, '-', '+', 1, NOBODY"),
    ("claim.lua", "local before = newest", "local before = '+'"),
    ("claim.lua", "id, 'RETRYCOUNT', 1, 'FORCE'", "id, 'RETRYCOUNT', 0, 'FORCE'"),
    ("claim.lua", "found[4] < fewest[4]", "found[4] <= fewest[4]"),
    ("claim.lua", "tries > 0 and MOST_IN_TURN or 1", "MOST_IN_TURN"),
    ("split.lua", "if keeps == 0 then end_pause", "if true then end_pause"),
    ("split.lua", "if weight > 0 then", "if true then"),
    ("claim.lua", "outage_ms > 0 and outage_ms <= lease_ms", "outage_ms > 0"),
    ("claim.lua", "outage_ms > 0 and outage_ms <= lease_ms", "outage_ms <= lease_ms"),
    ("claim.lua", "outage.retry = now + lease_ms", "outage.retry = now"),
    ("claim.lua", "has_gap(clock, now, lease_ms) or is_set_back", "is_set_back"),
    ("claim.lua", "or is_set_back(clock, now) then return grace_ms", "then return grace_ms"),
    ("claim.lua", "(resumed or 0) + grace_ms - now", "(resumed or 0) - now"),
    ("claim.lua", "- now, grace_ms))", "- now, lease_ms))"),
    ("claim.lua", "math.min(lease_ms, 15000)", "lease_ms"),
    ("claim.lua", "if is_once and (", "if false and ("),
    ("pause.lua", "if is_paused then return 0 end", ""),
    ("shared/take_samples.lua", "-SAMPLES, -1", "0, -1"),
    ("shared/take_samples.lua", ">= BETWEEN_MS", "> 0"),
    ("claim.lua", "deliveries + 1, holder ~= NOBODY, h", "deliveries, holder ~= NOBODY, h"),
    ("claim.lua", "holder ~= NOBODY, holder ~= NOBODY", "holder ~= NOBODY, true"),
    ("claim.lua", "holder ~= NOBODY, holder ~= NOBODY", "true, holder ~= NOBODY"),
    ("claim.lua", "worker, 0, id, 'JUSTID'", "worker, 0, id"),
    ("release.lua", "NOBODY, 0, id, 'IDLE', idle_ms, 'JUSTID'", "NOBODY, 0, id, 'JUSTID'"),
    ("release.lua", "NOBODY, 0", "worker, 0"),
    ("release.lua", "then past.failures, past.changed", "then past.deaths, past.changed"),
    ("release.lua", "begins_again or not past.successes", "true"),
    ("release.lua", "begins_again or not past.successes", "begins_again"),
    ("release.lua", "outage.failed < known", "outage.failed <= known"),
    ("release.lua", "reason == 'outage' and outage.failed < known", "outage.failed < known"),
    ("release.lua", "reason == 'failure' or reason == 'doubtful'", "reason == 'failure'"),
    ("release.lua", "reason == 'failure' or reason == 'doubtful'", "reason == 'doubtful'"),
    ("release.lua", "past.failures + 1, ''", "past.failures + 1, past.changed"),
    ("release.lua", "pause_ms >= 0 or outage.told == 0", "pause_ms >= 0"),
    ("release.lua", "outage.told == 0 and 1 or 2", "1"),
    ("release.lua", "outage.told == 0 and 1 or 2", "2"),
    ("release.lua", "reason ~= 'failure' and reason ~= 'death'", "reason ~= 'failure'"),
    ("release.lua", "reason ~= 'failure' and reason ~= 'death'", "reason ~= 'death'"),
    ("release.lua", "count == 1 or by ~= ''", "count == 1"),
    ("release.lua", "count == 1 or by ~= ''", "true"),
    ("release.lua", "outage.since or now", "now"),
    ("release.lua", "if pause_ms >= 0 then", "if true then"),
    ("release.lua", "if pause_ms >= 0 then", "if pause_ms > 0 then"),
    ("release.lua", ">= between_ms", "> 0"),
    ("release.lua", "(pause_ms >= 0 or outage.told == 0) and MINUTE_MS or HOUR_MS", "MINUTE_MS"),
    ("release.lua", "math.abs(now - total_of(stats, 'told'))", "now - total_of(stats, 'told')"),
    ("release.lua", "weight > 0 or reason == 'outage'", "weight > 0"),
    ("release.lua", "weight > 0 or reason == 'outage'", "reason == 'outage'"),
    ("retire.lua", "NOBODY, 0", "worker, 0"),
    ("retire.lua", "== 0 then", ">= 0 then"),
    ("split.lua", "sub(events, 1, last)", "sub(events, 1, last - 1)"),
    ("split.lua", "sub(events, following)", "sub(events, following + 1)"),
    ("split.lua", "past.failures, past.deaths", "past.deaths, past.failures"),
    ("split.lua", "place == keeps", "place == 3 - keeps"),
    ("split.lua", "'RETRYCOUNT', 1", "'RETRYCOUNT', 2"),
    ("split.lua", "'RETRYCOUNT', 0", "'RETRYCOUNT', 1"),
    ("split.lua", "'IDLE', 2 * UNTRIED_MS", "'IDLE', 0"),
    ("split.lua", "past.successes or total_of", "total_of"),
    ("split.lua", "past.claimed_ms, past.changed = nil, ''", "past.claimed_ms = nil"),
    ("split.lua", "past.first_ms or now_ms()", "now_ms()"),
    ("split.lua", "if error ~= '' then", "if true then"),
    ("bury.lua", "tonumber(ARGV[at]), tonumber", "1 + tonumber(ARGV[at]), tonumber"),
    ("bury.lua", "at = FIRST_ARGV, #ARGV, 6", "at = FIRST_ARGV, #ARGV - 6, 6"),
    ("shared/leases.lua", "held[4] == attempt", "held[4] >= attempt"),
    ("shared/leases.lua", "held[4] == attempt and", ""),
    ("shared/leases.lua", ".token == token", ".token"),
    ("shared/delivered.lua", "is_ahead = piece[1], true", "is_ahead = piece[1], false"),
    ("shared/delivered.lua", "while piece and #", "while piece and not is_ahead and #"),
    ("shared/doubt.lua", "clock - now > 1000", "clock - now > 0"),
    ("shared/doubt.lua", "clock - now > 1000", "clock - now > 10000"),
    ("shared/doubt.lua", "math.max(2000, ", "math.max(0, "),
    ("shared/doubt.lua", "math.min(lease_ms / 2, 15000)", "math.min(lease_ms, 15000)"),
    ("shared/doubt.lua", "math.min(lease_ms / 2, 15000)", "lease_ms / 2"),
    ("shared/success.lua", "if duration >= SHORTEST_OUTAGE_MS", "if true"),
    ("shared/success.lua", "outage.told > 0 and duration", "duration"),
    ("shared/success.lua", "string.sub(acquitted, -MOST_ACQUITTED)", "acquitted"),
    ("shared/success.lua", "or ' '", "or ''"),
    ("shared/end_pause.lua", "if outage.retry > 0 then", "if true then"),
    ("shared/heartbeat.lua", "found[2] == NOBODY and lease_ms or 0", "0"),
    ("shared/heartbeat.lua", "found[2] == NOBODY and lease_ms or 0", "lease_ms"),
    ("shared/heartbeat.lua", "lease_ms) or is_set_back(clock, now) then", "lease_ms) then"),
    ("shared/heartbeat.lua", "has_gap(clock, now, lease_ms) or", ""),
    ("shared/status_of.lua", "past.error ~= '' or past.deaths > 0", "past.error ~= ''"),
    ("shared/status_of.lua", "past.error ~= '' or past.deaths > 0", "past.deaths > 0"),
    ("shared/status_of.lua", "if failing == 0 then", "if true then"),
    ("shared/leases.lua", "id, id, 1, worker)", "id, id, 1)"),
    ("shared/ensure_group.lua", "GROUP, '0', 'MKSTREAM'", "GROUP, '$', 'MKSTREAM'"),
    (
        "shared/sealing.lua",
        "batch.bytes, batch.opened, batch.origin = 0, 0, nil, nil",
        "batch.bytes, batch.opened = 1, 0, nil",
    ),
    ("renew.lua", "worker, 0, id, 'JUSTID'", "worker, 0, id"),
    ("replay.lua", "table.concat(events, ',')", "events[1]"),
    ("take.lua", "if is_claimed then return false end", "if is_claimed then return true end"),
]


class Mutant(NamedTuple):
    file: str
    line: int
    """The first that is changed, from 1."""

    what: str
    source: str


def all_mutants(plain: "redis.Redis") -> list[Mutant]:
    return [*_left_out(plain), *_by_hand()]


def _by_hand() -> Iterator[Mutant]:
    for file, old, new in BY_HAND:
        source = (FOLDER / file).read_text()
        if source.count(old) < 1:
            raise ValueError(f"{file} has no {old!r}")
        line = source[: source.index(old)].count("\n") + 1
        yield Mutant(file, line, f"{old} → {new}", source.replace(old, new, 1))


def _left_out(plain: "redis.Redis") -> Iterator[Mutant]:
    """Each statement: a line, or as many from there on as have to go that what is left is Lua."""
    for path in sorted(FOLDER.glob("**/*.lua")):
        file = str(path.relative_to(FOLDER))
        lines = path.read_text().splitlines(keepends=True)
        for at, line in enumerate(lines):
            if _NO_STATEMENT.fullmatch(line.rstrip("\n")):
                continue
            for end in range(at + 1, len(lines) + 1):
                source = "".join(lines[:at] + lines[end:])
                if _is_lua(plain, source):
                    what = " ".join(" ".join(lines[at:end]).split())
                    yield Mutant(file, at + 1, f"without {what[:90]}", source)
                    break


def _is_lua(plain: "redis.Redis", source: str) -> bool:
    try:
        plain.script_load(source)
    except redis.ResponseError:
        return False
    return True


def killed_by_search(mutant: Mutant) -> str | None:
    """What the search says of it, or None when it finds nothing."""
    from tests.faults.judging import Violation
    from tests.faults.schedules import Schedule, arena

    mutated.inject(mutant.file, mutant.source)
    with arena() as its:
        for seed in range(SEEDS):
            try:
                Schedule(its, seed).run()
            except Violation as violation:
                return f"seed {seed}: {violation}"
            except Exception as error:  # noqa: BLE001  (whatever it does, it shows)
                return f"seed {seed}: {type(error).__name__} {str(error)[:100]}"
    return None


def killed_by_tests(mutant: Mutant) -> str | None:
    """The first test that fails with it, or None."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(mutant.source)
        file.flush()
        arguments = ["-x", "-n0", "-p", mutated.__name__, *(f"tests/{name}.py" for name in TESTS)]
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *arguments],
                env={**os.environ, "MUTATED_FILE": mutant.file, "MUTATED_SOURCE": file.name},
                capture_output=True,
                text=True,
                timeout=240,
            )
        except subprocess.TimeoutExpired:
            return "one that does not end"
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return failed[1] if failed else (None if done.returncode == 0 else "the suite")


def judge(mutant: Mutant) -> str:
    verdict = killed_by_search(mutant)
    if verdict is None:
        by_test = killed_by_tests(mutant)
        verdict = f"TEST {by_test}" if by_test else "SURVIVES"
    return f"{mutant.file}:{mutant.line} | {mutant.what} | {verdict}"


def configure() -> None:
    logging.disable()
    settings.configure()


def main(arguments: list[str]) -> int:
    with EmbeddedRedis() as embedded, redis.Redis.from_url(embedded.url) as plain:
        mutants = all_mutants(plain)
    chosen = [
        mutant
        for mutant in mutants
        if not arguments or not {mutant.file, f"{mutant.file}:{mutant.line}"}.isdisjoint(arguments)
    ]
    print(f"{len(chosen)} mutants", flush=True)
    with get_context("spawn").Pool(
        os.cpu_count(), initializer=configure, maxtasksperchild=20
    ) as pool:
        for verdict in pool.imap(judge, chosen):
            print(verdict, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
