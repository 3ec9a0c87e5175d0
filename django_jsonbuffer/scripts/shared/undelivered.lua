-- Shared: batches that were never delivered.
-- @needs entries group numbers

-- The oldest entry that was never delivered, or nil. The stream must exist.
local function first_undelivered(batches)
  local from = '-'
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', batches)) do
    if field(info, 'name') == GROUP then from = '(' .. field(info, 'last-delivered-id') end
  end
  -- Redis refuses a range that begins behind the largest possible id.
  if from == '(' .. LARGEST_ID then return nil end
  return redis.call('XRANGE', batches, from, '+', 'COUNT', 1)[1]
end

-- When the oldest batch was opened that has halves which are not delivered yet, or nil. Halves are
-- behind younger batches, so the first entry that was not delivered may not be the oldest. `first`
-- is the id of that entry.
local function oldest_halves(stats, first)
  local known = redis.call('HMGET', stats, 'split_opened', 'split_last')
  if not known[2] then return nil end
  local ms, number = string.match(known[2], '^(%d+)-(%d+)$')
  local first_ms, first_number = string.match(first, '^(%d+)-(%d+)$')
  ms, number, first_ms = whole(ms), whole(number), whole(first_ms)
  if not (ms and number and first_ms) then return nil end
  local are_there = first_ms < ms or first_ms == ms and tonumber(first_number) <= number
  return are_there and whole(known[1]) or nil
end
