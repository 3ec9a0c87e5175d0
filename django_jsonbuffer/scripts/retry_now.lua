-- Let a released batch be tried at once, before the other batches. An outage's pause ends as well, and
-- a worker that waits is woken. Its failures and deaths are not forgotten.
--
-- Atomic so that no worker claims the batch between the check that nobody holds it and the end of its
-- backoff. A copy of the call that arrives later finds a holder, or ends a backoff early.
--
-- KEYS[1]  batches   STREAM of sealed batches
-- KEYS[2]  stats     HASH of the bucket's counters
-- KEYS[3]  attempts  HASH of what is remembered of each batch
-- ARGV[1]  batch     id of the batch, with its token
--
-- Returns 1, or 0 when a worker holds the batch, when it was never delivered, or when it is gone.

-- @needs attempts clock end_pause group outage permissions wake

local batches, stats, attempts = KEYS[1], KEYS[2], KEYS[3]
local batch = ARGV[1]

local refusal = missing_permission(batches)
if refusal then return refusal end

local id, token = string.match(batch, '^(%d+%-%d+)%-?(%x*)$')
local held = id and deliveries_of(batches, id, id, 1, NOBODY)[1]
if not held or attempts_at(attempts, id).token ~= token then return 0 end
if #redis.call('XRANGE', batches, id, id) == 0 then return 0 end -- another client deleted it
local waits = outage_at(stats).retry > now_ms()

-- With this idle time, the batch comes first, like a piece of a split batch. XCLAIM needs no memory, so
-- a full Redis lets the script run to its end.
redis.call('XCLAIM', batches, GROUP, NOBODY, 0, id, 'IDLE', 2 * UNTRIED_MS, 'JUSTID')
end_pause(stats)
wake(batches, waits and 'n' or 's')
return 1
