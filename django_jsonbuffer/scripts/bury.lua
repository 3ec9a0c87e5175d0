-- Move a claimed batch that cannot be read to the dead letters, whole.
--
-- Atomic so that its bytes are in the batch or in the dead letter, never in both. A late copy finds
-- another holder, or another delivery, and does nothing.
--
-- KEYS[1]  batches     STREAM of sealed batches
-- KEYS[2]  dead        STREAM of dead letters
-- KEYS[3]  stats       HASH of the bucket's counters
-- ARGV[1]  consumer    name of the worker that holds the lease
-- ARGV[2]  id          id of the batch
-- ARGV[3]  deliveries  how often the batch had been delivered when it was claimed
-- ARGV[4]  error       what is wrong with it
--
-- Returns 1, or 0 when another worker holds the lease or the batch is gone.
-- @include counters.lua dead_letters.lua sealed_batches.lua

local batches, dead, stats = KEYS[1], KEYS[2], KEYS[3]
local consumer, id, deliveries, error = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

if not is_held(batches, consumer, id, deliveries) then return 0 end
local entry = redis.call('XRANGE', batches, id, id)[1]
if not entry then return 0 end
local events, count = contents(entry)
local held = look_sealed(batches, stats)
redis.call('XLEN', dead)

-- A write that needs no memory, so that a full server lets the script run to its end.
redis.call('PERSIST', batches)
add_dead_letter(dead, stats, events, error, id, deliveries)
remove(batches, id)
held.claimed, held.bytes = held.claimed - count, held.bytes - #events
remember_sealed(batches, stats, held)
return 1
