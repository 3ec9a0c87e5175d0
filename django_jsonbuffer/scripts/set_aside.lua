-- Keep values that were taken and cannot be read, as dead letters.
--
-- Atomic so that each is kept whole and counted.
--
-- KEYS[1]  dead     STREAM of dead letters
-- KEYS[2]  stats    HASH of the bucket's counters
-- ARGV[1]  error    what is wrong with them
-- ARGV[2…] values
--
-- Returns how many they are.
-- @include clock.lua counters.lua dead_letters.lua

local dead, stats = KEYS[1], KEYS[2]
local error = ARGV[1]
local FIRST_ARGV = 2

redis.call('HLEN', stats)
redis.call('XLEN', dead)

-- A write that needs no memory, so that a full server lets the script run to its end.
redis.call('PERSIST', dead)
for at = FIRST_ARGV, #ARGV do
  add_dead_letter(dead, stats, ARGV[at], error, '', 0)
end
return #ARGV - 1
