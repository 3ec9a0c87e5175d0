-- Acknowledge a batch whose events have been processed.
--
-- Atomic so that a batch is either still leased or gone, never both. A copy of the call that
-- arrives later finds another holder, or another delivery, and does nothing.
--
-- KEYS[1]  batches   STREAM of sealed batches
-- KEYS[2]  stats     HASH of the bucket's counters
-- KEYS[3]  attempts  HASH of what is remembered of each batch
-- ARGV[1]  worker    name of the worker that holds the lease
-- ARGV[2]  batch     id of the batch, with its token
-- ARGV[3]  attempt   number of the delivery that the worker holds, from 1
-- ARGV[4]  count     events of the batch
-- ARGV[5]  bytes     bytes of the batch
--
-- Returns {how long the outage was that ends with this success (ms), or -1}, or an empty list when
-- another worker holds the lease or the batch is gone.

-- @needs counters leases look_sealed permissions remember_sealed remove success

local batches, stats, attempts = KEYS[1], KEYS[2], KEYS[3]
local worker, batch, attempt = ARGV[1], ARGV[2], tonumber(ARGV[3])
local count, bytes = tonumber(ARGV[4]), tonumber(ARGV[5])

local refusal = missing_permission(batches)
if refusal then return refusal end

local id = held_id(batches, attempts, worker, batch, attempt)
if not id then return {} end
local held = look_sealed(batches, stats)

-- XACK needs no memory, so a full Redis lets the script run to its end.
if remove(batches, attempts, id) == 0 then return {} end
held.claimed, held.bytes = held.claimed - count, held.bytes - bytes
remember_sealed(batches, stats, held)
bump(stats, 'processed', count)
return { note_success(stats) }
