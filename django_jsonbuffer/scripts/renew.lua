-- Let the lease of a claimed batch begin anew.
--
-- Atomic so that a lease is renewed only while it is held. A late copy finds another holder, or
-- another delivery, and does nothing.
--
-- KEYS[1]  batches     STREAM of sealed batches
-- ARGV[1]  consumer    name of the worker that holds the lease
-- ARGV[2]  id          id of the batch
-- ARGV[3]  deliveries  how often the batch had been delivered when it was claimed
--
-- Returns 1, or 0 when another worker holds the lease or the batch is gone.
-- @include clock.lua counters.lua as_left.lua dead_letters.lua sealed_batches.lua

local batches = KEYS[1]
local consumer, id, deliveries = ARGV[1], ARGV[2], tonumber(ARGV[3])

if not is_held(batches, consumer, id, deliveries) then return 0 end
if #redis.call('XRANGE', batches, id, id) == 0 then return 0 end -- somebody deleted it

-- XCLAIM needs no memory, so a full server lets the script run to its end.
redis.call('XCLAIM', batches, GROUP, consumer, 0, id, 'JUSTID')
return 1
