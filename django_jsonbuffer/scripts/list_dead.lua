-- List dead letters, oldest first.
--
-- Atomic so that what it shows was there all at one moment.
--
-- KEYS[1]  dead   STREAM of dead letters
-- ARGV[1]  first     where to begin: '-', the id of a dead letter, '(' and one to begin behind it, or
--                    'newest' for the newest alone
-- ARGV[2]  last      where to end: '+', or the id of a dead letter
-- ARGV[3]  limit     most of them
-- ARGV[4]  is_whole  1 for all that they hold, 0 for their ids alone
--
-- Returns a list of {id, list of names and values}, or of ids. Writes nothing.

local dead = KEYS[1]
local first, last, limit, is_whole = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'

local letters
if first == 'newest' then
  letters = redis.call('XREVRANGE', dead, '+', '-', 'COUNT', 1)
else
  letters = redis.call('XRANGE', dead, first, last, 'COUNT', limit)
end
if is_whole then return letters end
local ids = {}
for at, letter in ipairs(letters) do ids[at] = letter[1] end
return ids
