-- Release a claimed batch, to be claimed again after a backoff.
--
-- Atomic so that a batch has one holder or none. A copy of the call that arrives later finds
-- another holder, or another delivery, and does nothing.
--
-- KEYS[1]  batches     STREAM of sealed batches
-- KEYS[2]  stats       HASH of the bucket's counters
-- KEYS[3]  attempts    HASH of what is remembered of each batch
-- ARGV[1]  worker      name of the worker that holds the lease
-- ARGV[2]  batch       id of the batch, with its token
-- ARGV[3]  attempt     number of the delivery that the worker holds, from 1
-- ARGV[4]  count       events of the batch
-- ARGV[5]  idle_ms     idle time of the batch: the lease less the backoff
-- ARGV[6]  reason      why it is released: failure (counts as an attempt), doubtful (counts, and
--                      others must succeed before the next one does), retry (does not count),
--                      changed (does not, because its error is another one), outage (does not, and
--                      it goes on or begins), death (counts as the death of a worker)
-- ARGV[7]  weight      how much this failure tells about an outage: 0 for nothing
-- ARGV[8]  by          'x' for an exception that means an outage, else ''
-- ARGV[9]  pause_ms    how long no worker may try again in an outage; -1 when they do not wait yet
-- ARGV[10] known       weight of the failures in a row when the worker claimed the batch
-- ARGV[11] error       the error that the batch failed with
--
-- Returns {ms since the outage began, or -1 without an outage; 1 when the worker is to log its
-- beginning, 2 to log that it goes on, else 0}, or an empty list when another worker holds the lease
-- or the batch is gone. Workers log an outage once a minute, or once an hour while they do not wait,
-- and the beginning of one outage a minute.

-- @needs attempts clock deaths group leases look_sealed outage permissions remember_attempts
-- @needs remember_outage remember_sealed totals

local MINUTE_MS, HOUR_MS = 60 * 1000, 60 * 60 * 1000

local batches, stats, attempts = KEYS[1], KEYS[2], KEYS[3]
local worker, batch, attempt = ARGV[1], ARGV[2], tonumber(ARGV[3])
local count, idle_ms, reason, weight = tonumber(ARGV[4]), ARGV[5], ARGV[6], tonumber(ARGV[7])
local by, pause_ms, known, error = ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10]), ARGV[11]

local refusal = missing_permission(batches)
if refusal then return refusal end

local id = held_id(batches, attempts, worker, batch, attempt)
-- Another client may have deleted the entry.
if not id or #redis.call('XRANGE', batches, id, id) == 0 then return {} end
local held, past, outage = look_sealed(batches, stats), attempts_at(attempts, id), outage_at(stats)
local now, successes = now_ms(), total_of(stats, 'successes')

if reason == 'death' then count_death(past, successes, now) end
past.first_ms, past.error = past.first_ms or now, error
-- The row of failures is shorter than the worker knew. So another worker has succeeded, and there is
-- no outage.
if reason == 'outage' and outage.failed < known then reason = 'retry' end
local is_counted = reason == 'failure' or reason == 'doubtful'
if is_counted then past.failures, past.changed = past.failures + 1, '' end
-- After a failure that may be due to an outage, others must succeed before the next one counts.
local begins_again = reason ~= 'failure' and reason ~= 'death'
if begins_again or not past.successes then past.successes = successes end
if reason == 'changed' then past.changed = 'c' end
outage.failed = outage.failed + weight
if count == 1 or by ~= '' then outage.alone = outage.alone + weight end
local is_told = 0
if reason == 'outage' then
  -- It began later than now if the clock was set back. Then its duration begins again.
  outage.since, outage.tries = math.min(outage.since or now, now), outage.tries + 1
  outage.by = by
  if pause_ms >= 0 then outage.retry = now + pause_ms end
  local between_ms = (pause_ms >= 0 or outage.told == 0) and MINUTE_MS or HOUR_MS
  if math.abs(now - total_of(stats, 'told')) >= between_ms then
    is_told = outage.told == 0 and 1 or 2
    outage.told = now
  end
end

-- XCLAIM needs no memory, so a full Redis lets the script run to its end.
redis.call('XCLAIM', batches, GROUP, NOBODY, 0, id, 'IDLE', idle_ms, 'JUSTID')
held.claimed, held.sealed = held.claimed - count, held.sealed + count
remember_sealed(batches, stats, held)
remember_attempts(attempts, id, past)
if weight > 0 or reason == 'outage' then remember_outage(stats, outage) end
if is_told > 0 then redis.call('HSET', stats, 'told', now) end
return { outage.since and math.max(0, now - outage.since) or -1, is_told }
