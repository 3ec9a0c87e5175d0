-- Discard dead letters.
--
-- Atomic so that each dead letter is counted once, however often it is discarded.
--
-- KEYS[1]  dead   STREAM of dead letters
-- KEYS[2]  stats  HASH of the bucket's counters
-- ARGV[1…] ids    of the dead letters
--
-- Returns how many of them existed.

-- @needs drops permissions

local dead, stats = KEYS[1], KEYS[2]
local FIRST_ARGV = 1

local refusal = missing_permission(dead)
if refusal then return refusal end

-- A key of another type must fail here, before the first write.
redis.call('HLEN', stats)
local discarded = 0
for at = FIRST_ARGV, #ARGV do
  -- XDEL needs no memory, so a full Redis lets the script run to its end.
  discarded = discarded + redis.call('XDEL', dead, ARGV[at])
end
drop(stats, 'discarded', discarded)
return discarded
