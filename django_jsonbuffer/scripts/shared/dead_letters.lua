-- Shared: adds a dead letter.
-- @needs clock counters

-- `event` is kept byte for byte, with the error that says why it cannot be processed. `batch` is the
-- id of the batch that the event was in, or ''. `known` is {traceback, first_failed (ms), origin, trace}
-- of an event that was in a batch, or nil.
local function add_dead_letter(dead, stats, event, error, batch, attempts, known)
  local now = now_ms()
  known = known or {}
  redis.call('XADD', dead, '*', 'event', event, 'error', error, 'batch', batch,
    'attempts', attempts, 'traceback', known.traceback or '', 'first_failed', known.first_failed or now,
    'last_failed', now, 'origin', known.origin or '', 'trace', known.trace or '')
  bump(stats, 'buried', 1)
end
