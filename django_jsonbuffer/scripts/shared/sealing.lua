-- Shared: seals the open batch.
-- @needs ensure_group origins

-- The origins of the events of an open batch, as its entry has them: `<origin>:<first place>:<number of
-- events>`. If its origin is not known, it gets one from this call.
local function origins_of(batch, token)
  return string.format('%s:0:%d', batch.origin or new_origin(batch.opened, token, 0), batch.count)
end

-- The traces of an open batch, as its entry has them: those that are noted, without the origin.
local function traces_of(batch)
  return batch.traces and string.sub(batch.traces, #batch.origin + 2) or ''
end

-- Moves the open batch to the end of the stream, with the token of the call. Updates the tables
-- `batch` and `held`, which the caller must store. Returns nil, or the error of a stream whose last id is
-- the largest possible id. In that case the open batch stays as it was.
local function seal(open, batches, batch, held, token)
  ensure_group(batches)
  local added = redis.pcall('XADD', batches, '*', 'events', redis.call('GET', open),
    'count', batch.count, 'opened', batch.opened, 'token', token,
    'origins', origins_of(batch, token), 'traces', traces_of(batch))
  if added.err then return added end
  redis.call('DEL', open)
  held.sealed, held.bytes = held.sealed + batch.count, held.bytes + batch.bytes
  batch.count, batch.bytes, batch.opened, batch.origin = 0, 0, nil, nil
  batch.traces = nil
  return nil
end
