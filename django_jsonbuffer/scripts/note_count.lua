-- Store how many events a client has counted in the open batch.
--
-- Atomic so that the count is stored only if the open batch is still as the client has read it.
--
-- KEYS[1]  open     STRING, the open batch
-- KEYS[2]  stats    HASH of the bucket's counters
-- KEYS[3]  appends  HASH of the open batch as it was left, and of the producers
-- ARGV[1]  count  events in the open batch, at least 1
-- ARGV[2]  bytes  length of the open batch
-- ARGV[3]  tail   last bytes of the open batch
--
-- Returns 1, or 0 when nothing was written, because the open batch has changed or its count is known.

-- @needs noted_open open_as_left opened_at permissions remember_open

local open, stats, appends = KEYS[1], KEYS[2], KEYS[3]
local count, bytes, tail = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]

local refusal = missing_permission(open)
if refusal then return refusal end

local noted = noted_open(appends)
if redis.call('GETRANGE', open, bytes - #tail, bytes) ~= tail or open_as_left(open, noted) then
  return 0
end
redis.call('HLEN', stats) -- a key of another type must fail here, before the first write
-- A full Redis must store the count as well, because otherwise each status is expensive. So the
-- first write needs no memory.
redis.call('PERSIST', appends)
noted.opened, noted.origin = opened_at(noted, count), nil -- see read_open()
noted.count, noted.bytes = count, bytes
remember_open(open, appends, stats, noted)
return 1
