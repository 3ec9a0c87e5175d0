-- Give a claimed batch back, to be claimed again after a backoff.
--
-- Atomic so that a batch has one holder or none. A late copy finds another holder, or another
-- delivery, and does nothing.
--
-- KEYS[1]  batches     STREAM of sealed batches
-- KEYS[2]  stats       HASH of the bucket's counters
-- ARGV[1]  consumer    name of the worker that holds the lease
-- ARGV[2]  id          id of the batch
-- ARGV[3]  deliveries  how often the batch had been delivered when it was claimed
-- ARGV[4]  count       events of the batch
-- ARGV[5]  idle_ms     idle time to begin with: the lease less the backoff
--
-- Returns 1, or 0 when another worker holds the lease or the batch is gone.
-- @include counters.lua dead_letters.lua sealed_batches.lua

local batches, stats = KEYS[1], KEYS[2]
local consumer, id, deliveries = ARGV[1], ARGV[2], tonumber(ARGV[3])
local count, idle_ms = tonumber(ARGV[4]), ARGV[5]

if not is_held(batches, consumer, id, deliveries) then return 0 end
if #redis.call('XRANGE', batches, id, id) == 0 then
  redis.call('XACK', batches, GROUP, id) -- somebody deleted it
  return 0
end
local held = look_sealed(batches, stats)

-- XCLAIM needs no memory, so a full server lets the script run to its end.
redis.call('XCLAIM', batches, GROUP, NOBODY, 0, id, 'IDLE', idle_ms, 'JUSTID')
held.claimed, held.sealed = held.claimed - count, held.sealed + count
remember_sealed(batches, stats, held)
return 1
