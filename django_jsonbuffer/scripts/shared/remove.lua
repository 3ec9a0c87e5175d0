-- Shared: removes a sealed batch.
-- @needs group

-- Returns 1, or 0 when another client has deleted the entry before.
local function remove(batches, attempts, id)
  redis.call('XACK', batches, GROUP, id)
  redis.call('HDEL', attempts, id)
  return redis.call('XDEL', batches, id)
end
