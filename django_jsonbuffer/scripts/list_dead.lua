-- List dead letters, oldest first.
--
-- Atomic so that the dead letters of a list all existed at one moment.
--
-- KEYS[1]  dead   STREAM of dead letters
-- ARGV[1]  first  where to begin: '-', the id of a dead letter, '(' and an id to begin behind it, or
--                 'newest' for the newest alone
-- ARGV[2]  last   where to end: '+', or the id of a dead letter
-- ARGV[3]  limit  most dead letters
-- ARGV[4]  bytes  how many bytes of each event, from its first; 0 for all of it, -1 for the ids alone
--
-- Returns a list of {id, list of names and values}, or of ids. If an event was cut, the names and
-- values end with `event_bytes` and its whole size. Writes nothing.

local dead = KEYS[1]
local first, last, limit, bytes = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local letters
if first == 'newest' then
  letters = redis.call('XREVRANGE', dead, '+', '-', 'COUNT', 1)
else
  letters = redis.call('XRANGE', dead, first, last, 'COUNT', limit)
end
local ids = {}
for at, letter in ipairs(letters) do
  ids[at] = letter[1]
  local fields = letter[2]
  for i = 1, #fields, 2 do
    if fields[i] == 'event' and #fields[i + 1] > bytes and bytes > 0 then
      table.insert(fields, 'event_bytes')
      table.insert(fields, tostring(#fields[i + 1]))
      fields[i + 1] = string.sub(fields[i + 1], 1, bytes)
    end
  end
end
return bytes < 0 and ids or letters
