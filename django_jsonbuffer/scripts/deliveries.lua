-- Tell who drains the bucket, and what became of the batches that were delivered.
--
-- Atomic so that no batch is told twice, or by nobody's name.
--
-- KEYS[1]  batches   STREAM of sealed batches
-- KEYS[2]  attempts  HASH of what became of each batch so far
-- KEYS[3]  workers   HASH of the workers, and when each was last heard of
-- ARGV[1]  limit     most batches
--
-- Returns {list of names of workers and the ms since each was heard of, list of batches}, the oldest
-- first. Of each batch: id, name of the worker that holds it or an empty one, how often it was
-- delivered, ms since it last was or -1, idle ms, how often the processor failed with it, how many
-- workers died with it, and the kind of the error that it last failed with. Writes nothing.
-- @include clock.lua counters.lua as_left.lua attempts.lua dead_letters.lua sealed_batches.lua

local batches, attempts, workers = KEYS[1], KEYS[2], KEYS[3]
local limit = ARGV[1]

local now = now_ms()
local heard = redis.call('HGETALL', workers)
for i = 2, #heard, 2 do
  heard[i] = math.abs(now - (whole(heard[i]) or 0))
end
local told = {}
for at, delivery in ipairs(deliveries_of(batches, '-', '+', limit)) do
  local id, holder, idle_ms, deliveries = delivery[1], delivery[2], delivery[3], delivery[4]
  local past = attempts_at(attempts, id)
  told[at] = {
    id, holder == NOBODY and '' or holder, deliveries,
    past.claimed_ms and math.max(0, now - past.claimed_ms) or -1, idle_ms, past.failures, past.deaths,
    past.error,
  }
end
return { heard, told }
