-- Set aside values that were taken and cannot be read: each becomes a dead letter, whole.
--
-- Atomic so that each value is kept and counted.
--
-- KEYS[1]  dead    STREAM of dead letters
-- KEYS[2]  stats   HASH of the bucket's counters
-- ARGV[1]  error   what is wrong with the values
-- ARGV[2…] values  each as it was taken
--
-- Returns how many values there are.

-- @needs dead_letters permissions

local dead, stats = KEYS[1], KEYS[2]
local error = ARGV[1]
local FIRST_ARGV = 2

local refusal = missing_permission(dead)
if refusal then return refusal end

-- Keys of another type must fail here, before the first write.
redis.call('HLEN', stats)
redis.call('XLEN', dead)

-- The first write needs no memory, so that a full Redis lets the script run to its end.
redis.call('PERSIST', dead)
for at = FIRST_ARGV, #ARGV do
  add_dead_letter(dead, stats, ARGV[at], error, '', 0)
end
return #ARGV - 1
