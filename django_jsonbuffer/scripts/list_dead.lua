-- List dead letters, oldest first.
--
-- Atomic so that the dead letters of a list all existed at one moment.
--
-- KEYS[1]  dead   STREAM of dead letters
-- ARGV[1]  first  where to begin: '-', the id of a dead letter, '(' and an id to begin behind it, or
--                 'newest' for the id of the newest alone
-- ARGV[2]  last   where to end: '+', or the id of a dead letter
-- ARGV[3]  limit  most dead letters
-- ARGV[4]  bytes  how many bytes of each event, from its first; 0 for all of it, -1 for the ids alone
--
-- Returns a list of {id, list of names and values}, or of ids. If an event was cut, the names and
-- values end with `event_bytes` and its whole size. Writes nothing.

-- @needs cut_event

local PORTION = 10 -- letters that one XRANGE copies, whole, before their events are cut

local dead = KEYS[1]
local first, last, limit, bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

if first == 'newest' then
  local newest = redis.call('XREVRANGE', dead, '+', '-', 'COUNT', 1)[1]
  return { newest and newest[1] }
end
local found, portion = {}, nil
repeat
  portion = redis.call('XRANGE', dead, first, last, 'COUNT', math.min(PORTION, limit - #found))
  for _, letter in ipairs(portion) do
    cut_event(letter[2], bytes)
    table.insert(found, bytes < 0 and letter[1] or letter)
    first = '(' .. letter[1]
  end
until #portion < PORTION or #found == limit
return found
