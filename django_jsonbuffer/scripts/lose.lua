-- Count events that were lost before they came here.
--
-- Atomic so that a total that somebody has spoilt begins again with this count.
--
-- KEYS[1]  stats  HASH of the bucket's counters
-- ARGV[1]  count  how many they are
--
-- Returns the count.
-- @include counters.lua

local stats = KEYS[1]
local count = tonumber(ARGV[1])

bump(stats, 'lost', count)
return count
