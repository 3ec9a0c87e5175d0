-- Shared: when an open batch was opened that another client has changed.
-- @needs clock numbers

-- When (ms) the first of these events was appended, as far as the counters tell. A batch that has
-- grown still has its first event, and so the same age.
local function opened_at(stats, found)
  local known = redis.call('HMGET', stats, 'open', 'opened')
  local count, opened = whole(known[1]), whole(known[2])
  return count and opened and count > 0 and found > count and opened or now_ms()
end
