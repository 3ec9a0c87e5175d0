-- Shared: the status of a bucket.
-- @needs appended_of attempts delivered entries fields group look_open_briefly look_sealed
-- @needs noted_open numbers opened_at outage_of read_samples

local HEARD_OF_MS = 30 * 1000 -- a worker writes a heartbeat every 10 s

-- When the oldest event was appended that is sealed and that no worker holds, or nil. That event is in
-- a batch that was never delivered, or in one that was released or split.
local function sealed_longest_ago(batches, attempts)
  local last = delivered_until(batches)
  -- Redis refuses a range that begins behind the largest possible id.
  local entry = last ~= LARGEST_ID and redis.call('XRANGE', batches, '(' .. last, '+', 'COUNT', 1)[1]
  local oldest = entry and whole(field(entry[2], 'opened'))
  for _, released in ipairs(deliveries_of(batches, '-', '+', 100, NOBODY)) do
    local opened = attempts_at(attempts, released[1]).opened
    if opened and (not oldest or opened < oldest) then oldest = opened end
  end
  return oldest
end

-- The values 5, 11, 12 and 27.
local function summary_of_deliveries(batches, attempts)
  local summary = deliveries_of(batches)
  local claimed, failing, attempt, error = summary[1] or 0, 0, 0, ''
  for _, holder in ipairs(summary[4] or {}) do
    if holder[1] == NOBODY then claimed = claimed - holder[2] end
  end
  for _, delivery in ipairs((summary[1] or 0) > 0 and deliveries_of(batches, '-', '+', 100) or {}) do
    local past = attempts_at(attempts, delivery[1])
    if past.error ~= '' or past.deaths > 0 then
      if failing == 0 then attempt, error = math.max(1, delivery[4]), past.error end
      failing = failing + 1
    end
  end
  return claimed, failing, attempt, error
end

local function workers_heard_of(workers, now)
  local beats, count = redis.call('HVALS', workers), 0
  for _, beat_ms in ipairs(beats) do
    -- A heartbeat from the future was overwritten by another client, or was written before the
    -- clock of Redis was set back.
    if math.abs(now - (whole(beat_ms) or 0)) <= HEARD_OF_MS then count = count + 1 end
  end
  return count
end

-- The reply of status.lua, for keys and arguments of the same names. `now` is the time (ms).
local function status_of(now, open, batches, dead, stats, appends, attempts, workers, history, paused,
    counted, length)
  local noted = noted_open(appends)
  local batch, held = look_open_briefly(open, noted), look_sealed(batches, stats)
  if not batch then
    if counted < 0 then return { 0 } end
    batch = { count = counted, bytes = length, opened = counted > 0 and opened_at(noted, counted) }
  end
  redis.call('HLEN', attempts) -- a key of another type must fail here
  local opened, claimed, failing, attempt, error = batch.opened, 0, 0, 0, ''
  if held.entries > 0 then
    opened = sealed_longest_ago(batches, attempts) or opened
    claimed, failing, attempt, error = summary_of_deliveries(batches, attempts)
  end
  local paused_ms = redis.call('GET', paused)
  local newest = sample_at(history, -1)
  local before = sample_at(history, -2) or newest
  local totals = redis.call('HMGET', stats, 'appended', 'processed', 'buried', 'replayed', 'lost',
    'dropped_newest', 'dropped_oldest', 'dropped_purged', 'dropped_discarded', 'dropped_expired',
    'outage')
  local function total(at) return whole(totals[at]) or 0 end
  local function ms_since(ms) return ms and math.max(0, now - ms) or -1 end
  return {
    -- 1 to 3: events
    batch.count, held.sealed, held.claimed,
    -- 4 to 6: batches
    held.entries + (batch.count > 0 and 1 or 0), claimed, held.bytes + batch.bytes,
    -- 7 to 10: dead letters, age, workers, pause
    redis.call('XLEN', dead), ms_since(opened), workers_heard_of(workers, now),
    ms_since(paused_ms and (whole(paused_ms) or now)),
    -- 11 and 12: failing batches
    failing, attempt,
    -- 13 to 16: samples
    ms_since(newest and newest.ms), ms_since(before and before.ms),
    before and before.appended or -1, before and before.processed or -1,
    -- 17 to 26: totals
    appended_of(totals[1], noted.noted), total(2), total(3), total(4), total(5), total(6), total(7),
    total(8), total(9), total(10),
    -- 27 and 28: error of the oldest failing batch, outage
    error, ms_since(outage_of(totals[11]).since),
  }
end
