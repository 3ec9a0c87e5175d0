-- Remove the oldest dead letters that are too many, or too old.
--
-- Atomic so that each dead letter is counted once, however many workers remove them.
--
-- KEYS[1]  dead     STREAM of dead letters
-- KEYS[2]  stats    HASH of the bucket's counters
-- ARGV[1]  most     most dead letters to keep, or -1 for any number
-- ARGV[2]  age_ms   for how long to keep a dead letter, or -1 for ever
-- ARGV[3]  portion  most dead letters that one call removes for each of the two reasons
--
-- Returns how many it removed. If that is not 0, there may be more to remove.

-- @needs clock drops permissions

local dead, stats = KEYS[1], KEYS[2]
local most, age_ms, portion = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local refusal = missing_permission(dead)
if refusal then return refusal end

-- A key of another type must fail here, before the first write.
redis.call('HLEN', stats)
local length, expired = redis.call('XLEN', dead), 0
-- XTRIM needs no memory, so a full Redis lets the script run to its end. It does not copy the events.
if most >= 0 and length > most then
  expired = redis.call('XTRIM', dead, 'MAXLEN', '=', math.max(most, length - portion))
end
if age_ms >= 0 then
  -- An id begins with the time when the letter was buried.
  local oldest = math.max(0, now_ms() - age_ms)
  -- With ~, Redis removes whole nodes of the stream, up to the limit.
  local of_nodes = redis.call('XTRIM', dead, 'MINID', '~', oldest, 'LIMIT', portion)
  -- If it finds no such node, the letters that are too old are part of one node: about a hundred.
  if of_nodes == 0 then of_nodes = redis.call('XTRIM', dead, 'MINID', '=', oldest) end
  expired = expired + of_nodes
end
drop(stats, 'expired', expired)
return expired
