-- Shared: a success of the processor.
-- @needs clock counters outage totals

local SHORTEST_OUTAGE_MS = 10 * 1000 -- a shorter one may be a row of bad events
local MOST_ACQUITTED = 500 -- characters

-- Counts the success, and forgets the failures in a row. Returns how long the outage was that ends
-- with it (ms), or -1 when no worker has logged one. After a long outage, this success proves nothing
-- about what first failed in it. These batches have the number of the success before the outage, so
-- this number is added to `acquitted`.
local function note_success(stats)
  local outage, successes = outage_at(stats), total_of(stats, 'successes')
  redis.call('HDEL', stats, 'outage')
  bump(stats, 'successes', 1)
  if not outage.since then return -1 end
  local duration = math.max(0, now_ms() - outage.since)
  if duration >= SHORTEST_OUTAGE_MS then
    local acquitted = redis.call('HGET', stats, 'acquitted') or ' '
    acquitted = acquitted .. string.format('%.0f ', successes)
    redis.call('HSET', stats, 'acquitted', string.sub(acquitted, -MOST_ACQUITTED))
  end
  return outage.told > 0 and duration or -1
end
