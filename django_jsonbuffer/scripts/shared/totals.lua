-- Shared: reads a total of the bucket.
-- @needs numbers

-- The total, or 0 when it is missing or not a number.
local function total_of(stats, name)
  return whole(redis.call('HGET', stats, name)) or 0
end
