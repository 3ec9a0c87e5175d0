-- Shared: makes the stream and its consumer group when they are missing.
-- @needs group

-- The group begins at 0, so that it delivers all entries of the stream.
local function ensure_group(batches)
  if redis.pcall('XPENDING', batches, GROUP).err then
    redis.call('XGROUP', 'CREATE', batches, GROUP, '0', 'MKSTREAM')
  end
end
