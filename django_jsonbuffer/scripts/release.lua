-- Release a claimed batch, to be claimed again after a backoff.
--
-- Atomic so that a batch has one holder or none. A copy of the call that arrives later finds
-- another holder, or another delivery, and does nothing.
--
-- KEYS[1]  batches   STREAM of sealed batches
-- KEYS[2]  stats     HASH of the bucket's counters
-- KEYS[3]  attempts  HASH of each batch's failures, deaths and outages
-- ARGV[1]  worker    name of the worker that holds the lease
-- ARGV[2]  id        id of the batch
-- ARGV[3]  attempt   number of the delivery that the worker holds, from 1
-- ARGV[4]  count     events of the batch
-- ARGV[5]  idle_ms   idle time of the batch: the lease less the backoff
-- ARGV[6]  failed    1 for a failure, 0 for an outage
-- ARGV[7]  error     class of the exception that the batch failed with
--
-- Returns 1, or 0 when another worker holds the lease or the batch is gone.

-- @needs attempts clock group leases look_sealed permissions remember_attempts remember_sealed
-- @needs totals

local batches, stats, attempts = KEYS[1], KEYS[2], KEYS[3]
local worker, id, attempt = ARGV[1], ARGV[2], tonumber(ARGV[3])
local count, idle_ms, failed, error = tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6]), ARGV[7]

local refusal = missing_permission(batches)
if refusal then return refusal end

if not is_held(batches, worker, id, attempt) then return 0 end
if #redis.call('XRANGE', batches, id, id) == 0 then return 0 end -- another client deleted it
local held, past = look_sealed(batches, stats), attempts_at(attempts, id)
local processed = total_of(stats, 'processed')
if failed == 1 then
  past.failures = past.failures + 1
else
  if past.processed and past.processed ~= processed then past.outages = past.outages + 1 end
  past.processed = processed
end
past.first_ms, past.error = past.first_ms or now_ms(), error

-- XCLAIM needs no memory, so a full Redis lets the script run to its end.
redis.call('XCLAIM', batches, GROUP, NOBODY, 0, id, 'IDLE', idle_ms, 'JUSTID')
held.claimed, held.sealed = held.claimed - count, held.sealed + count
remember_sealed(batches, stats, held)
remember_attempts(attempts, id, past)
return 1
