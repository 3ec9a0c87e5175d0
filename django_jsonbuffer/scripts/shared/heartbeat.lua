-- Shared: the heartbeat of a worker, and once a minute a sample of the bucket's counters. Notices when
-- the clock of the server was set, so that leases and backoffs do not follow it.
-- @needs appended clock doubt group look_open_briefly look_sealed noted_open numbers take_samples totals

local FORGOTTEN_MS = 24 * 60 * 60 * 1000

-- Writes down when the server was last asked by a worker. If that was too long ago, or is in the future,
-- leases that have run out prove nothing for a while.
local function watch_clock(batches, stats, lease_ms)
  local clock, now = whole(redis.call('HGET', stats, 'clock')), now_ms()
  if is_set_back(clock, now) then
    -- All deliveries were at times that come again. Each lease begins again, and each backoff is over.
    for _, found in ipairs(deliveries_of(batches, '-', '+', deliveries_of(batches)[1] or 0)) do
      local idle_ms = found[2] == NOBODY and lease_ms or 0
      redis.call('XCLAIM', batches, GROUP, found[2], 0, found[1], 'IDLE', idle_ms, 'JUSTID')
    end
  end
  if has_gap(clock, now, lease_ms) or is_set_back(clock, now) then
    redis.call('HSET', stats, 'resumed', now)
  end
  redis.call('HSET', stats, 'clock', now)
end

local function sample_if_due(open, batches, dead, stats, appends, history)
  if not is_sample_due(history) then return end
  local batch = look_open_briefly(open, noted_open(appends))
  if batch then -- or the sample must wait until a client has counted the events
    take_sample(history, batch.count + look_sealed(batches, stats).sealed,
      redis.call('XLEN', dead), appended_total(stats, batch.noted), total_of(stats, 'processed'))
  end
end

-- Writes the heartbeat, and forgets the workers that are long gone.
local function beat(open, batches, dead, stats, appends, workers, history, worker, lease_ms)
  local noted, now = redis.call('HGETALL', workers), now_ms()
  -- The first write needs no memory, so that a full Redis lets the script run to its end.
  redis.call('PERSIST', workers)
  for i = 1, #noted, 2 do
    if math.abs(now - (whole(noted[i + 1]) or 0)) > FORGOTTEN_MS then
      redis.call('HDEL', workers, noted[i])
    end
  end
  redis.call('HSET', workers, worker, now)
  -- An error must not end the script, because a lease is worth more than the rest.
  pcall(watch_clock, batches, stats, lease_ms)
  pcall(sample_if_due, open, batches, dead, stats, appends, history)
end
