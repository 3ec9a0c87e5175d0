-- Shared: a success of the processor.
-- @needs clock counters outage totals

-- Counts the success, and forgets the failures in a row. Returns how long the outage was that ends
-- with it (ms), or -1. If the workers waited in it, what failed then is not suspected any more.
local function note_success(stats)
  bump(stats, 'successes', 1)
  local outage = outage_at(stats)
  redis.call('HDEL', stats, 'outage')
  if not outage.since then return -1 end
  if outage.retry > 0 then redis.call('HSET', stats, 'acquitted', total_of(stats, 'successes')) end
  return math.max(0, now_ms() - outage.since)
end
