-- Shared: seals the open batch.
-- @needs ensure_group

-- Moves the open batch to the end of the stream, and leaves an empty one. Brings `batch` and `held` up
-- to date; the caller has to write both down. Returns nil, or the error of a stream whose last id is
-- the largest possible one: then the open batch stays as it was.
local function seal(open, batches, batch, held)
  ensure_group(batches)
  local added = redis.pcall('XADD', batches, '*', 'events', redis.call('GET', open),
    'count', batch.count, 'opened', batch.opened)
  if added.err then return added end
  redis.call('DEL', open)
  held.sealed, held.bytes = held.sealed + batch.count, held.bytes + batch.bytes
  batch.count, batch.bytes, batch.opened = 0, 0, nil
  return nil
end
