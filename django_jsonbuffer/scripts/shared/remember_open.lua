-- Shared: notes the state of the open batch.
-- @needs counters noted

-- Notes the state of the open batch, so that the next script need not read it. The counter `appended`
-- is without the noted events: see appended_total().
local function remember_open(open, appends, stats, batch)
  local tail = redis.call('GETRANGE', open, -TAIL, -1)
  redis.call('HSET', appends, 'opened', batch.opened or '', 'origin', batch.origin or '',
    'traces', batch.origin and batch.traces or '',
    'open', struct.pack(NOTED_WITH_TAIL, batch.count, batch.bytes, tail))
  bump(stats, 'appended', batch.noted - batch.count)
  batch.noted = batch.count
  -- Older versions of this app note the open batch in the counters. Without this field they count.
  redis.call('HDEL', stats, 'open_tail')
end
