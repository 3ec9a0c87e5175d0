-- Discard dead letters.
--
-- Atomic so that each dead letter is counted once, however often it is discarded.
--
-- KEYS[1]  dead   STREAM of dead letters
-- KEYS[2]  stats  HASH of the bucket's counters
-- ARGV[1…] ids    of the dead letters
--
-- Returns {how many of them existed, how many ids it came to}. It stops early when the letters are
-- large, because it reads each letter to learn its group.

-- @needs drops leave_groups letter_size permissions

local MOST_BYTES = 8 * 1024 * 1024

local dead, stats = KEYS[1], KEYS[2]
local FIRST_ARGV = 1

local refusal = missing_permission(dead)
if refusal then return refusal end

-- A key of another type must fail here, before the first write.
redis.call('HLEN', stats)
local discarded, came_to, bytes, left = 0, 0, 0, {}
for at = FIRST_ARGV, #ARGV do
  local letter = redis.call('XRANGE', dead, ARGV[at], ARGV[at])[1]
  came_to = at
  if letter then
    bytes = bytes + letter_size(letter)
    note_left(left, letter)
    -- XDEL needs no memory, so a full Redis lets the script run to its end.
    discarded = discarded + redis.call('XDEL', dead, ARGV[at])
  end
  if bytes > MOST_BYTES then break end
end
leave_groups(dead, stats, left)
drop(stats, 'discarded', discarded)
return { discarded, came_to }
