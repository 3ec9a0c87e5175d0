-- Renew the lease of a claimed batch: it begins again.
--
-- Atomic so that a lease is renewed only while it is held. A copy of the call that arrives later
-- finds another holder, or another delivery, and does nothing.
--
-- KEYS[1]  batches   STREAM of sealed batches
-- KEYS[2]  attempts  HASH of what is remembered of each batch
-- ARGV[1]  worker    name of the worker that holds the lease
-- ARGV[2]  batch     id of the batch, with its token
-- ARGV[3]  attempt   number of the delivery that the worker holds, from 1
--
-- Returns 1, or 0 when another worker holds the lease or the batch is gone.

-- @needs group leases permissions

local batches, attempts = KEYS[1], KEYS[2]
local worker, batch, attempt = ARGV[1], ARGV[2], tonumber(ARGV[3])

local refusal = missing_permission(batches)
if refusal then return refusal end

local id = held_id(batches, attempts, worker, batch, attempt)
-- Another client may have deleted the entry.
if not id or #redis.call('XRANGE', batches, id, id) == 0 then return 0 end

-- XCLAIM needs no memory, so a full Redis lets the script run to its end.
redis.call('XCLAIM', batches, GROUP, worker, 0, id, 'JUSTID')
return 1
