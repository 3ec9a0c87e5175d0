-- Shared: counting. Takes no KEYS and no ARGV of its own.

-- The number that the text of a counter stands for, or nil when it is no plain one.
local function whole(text)
  return text and #text <= 15 and string.find(text, '^%d+$') and tonumber(text) or nil
end

-- Adds to a total of the bucket. A total that somebody has spoilt begins again: no count is worth
-- a script that stops between a copy and its removal.
local function bump(stats, total, by)
  if by == 0 then return end
  local reply = redis.pcall('HINCRBY', stats, total, by)
  if type(reply) == 'table' and reply.err then redis.call('HSET', stats, total, by) end
end

-- Counts events that were given up, in all and by reason.
local function drop(stats, reason, by)
  bump(stats, 'dropped', by)
  bump(stats, 'dropped_' .. reason, by)
end
