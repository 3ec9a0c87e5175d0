-- Store how many events a client has counted in the open batch.
--
-- Atomic so that the count is stored only if the open batch is still as the client has read it.
--
-- KEYS[1]  open   STRING, the open batch
-- KEYS[2]  stats  HASH of the bucket's counters
-- ARGV[1]  count  events in the open batch, at least 1
-- ARGV[2]  bytes  length of the open batch
-- ARGV[3]  tail   last bytes of the open batch
--
-- Returns 1, or 0 when nothing was written, because the open batch has changed or its count is known.

-- @needs open_as_left opened_at permissions

local open, stats = KEYS[1], KEYS[2]
local count, bytes, tail = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]

local refusal = missing_permission(open)
if refusal then return refusal end

if redis.call('GETRANGE', open, bytes - #tail, bytes) ~= tail or open_as_left(open, stats) then
  return 0
end
-- A full Redis must store the count as well, because otherwise each status is expensive. So the
-- first write needs no memory.
redis.call('PERSIST', stats)
redis.call('HSET', stats, 'open', count, 'open_bytes', bytes,
  'open_tail', redis.call('GETRANGE', open, -TAIL, -1), 'opened', opened_at(stats, count))
return 1
