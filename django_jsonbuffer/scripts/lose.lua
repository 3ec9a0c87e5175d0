-- Count events that were lost before they reached Redis.
--
-- Atomic so that a total that another client has overwritten begins again with this count.
--
-- KEYS[1]  stats  HASH of the bucket's counters
-- ARGV[1]  count  how many events were lost
--
-- Returns the count.

-- @needs counters permissions

local stats = KEYS[1]
local count = tonumber(ARGV[1])

local refusal = missing_permission(stats)
if refusal then return refusal end

bump(stats, 'lost', count)
return count
