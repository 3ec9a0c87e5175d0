-- Shared: adds to a total of the bucket.

-- A total that another client has overwritten begins again, because an error here would stop the
-- script between the copy of an event and its removal.
local function bump(stats, total, by)
  if by == 0 then return end
  local reply = redis.pcall('HINCRBY', stats, total, by)
  if type(reply) == 'table' and reply.err then redis.call('HSET', stats, total, by) end
end
