-- Shared: adds a dead letter.
-- @needs clock counters join_group

-- `event` is kept byte for byte, with the error that says why it cannot be processed. `batch` is the
-- id of the batch that the event was in, or ''. `known` is {traceback, first_failed (ms), origin, trace}
-- of an event that was in a batch, or nil.
local function add_dead_letter(dead, stats, event, error, batch, attempts, known)
  local now = now_ms()
  known = known or {}
  local traceback = known.traceback or ''
  local shape, group = group_to_join(stats, error)
  local id = redis.call('XADD', dead, '*', 'event', event, 'error', error, 'batch', batch,
    'attempts', attempts, 'traceback', traceback, 'first_failed', known.first_failed or now,
    'last_failed', now, 'origin', known.origin or '', 'trace', known.trace or '', 'group', shape)
  join_group(stats, shape, group, id, traceback ~= '')
  bump(stats, 'buried', 1)
end
