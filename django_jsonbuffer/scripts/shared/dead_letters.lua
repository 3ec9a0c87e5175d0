-- Shared: adds a dead letter.
-- @needs clock counters

-- `event` is kept byte for byte, with the error that says why it cannot be processed. `batch` is the
-- id of the batch that the event was in, or ''. `traceback` and `first_failed` (ms) come from a
-- processor that failed with the event, or are nil.
local function add_dead_letter(dead, stats, event, error, batch, attempts, traceback, first_failed)
  local now = now_ms()
  redis.call('XADD', dead, '*', 'event', event, 'error', error, 'batch', batch,
    'attempts', attempts, 'traceback', traceback or '', 'first_failed', first_failed or now,
    'last_failed', now)
  bump(stats, 'buried', 1)
end
