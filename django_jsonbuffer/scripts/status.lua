-- Report the status of the bucket.
--
-- Atomic so that its figures are of one moment and agree with each other.
--
-- KEYS[1]  open      STRING, the open batch
-- KEYS[2]  batches   STREAM of sealed batches
-- KEYS[3]  dead      STREAM of dead letters
-- KEYS[4]  stats     HASH of the bucket's counters
-- KEYS[5]  appends   HASH of the open batch as it was left, and of the producers
-- KEYS[6]  attempts  HASH of what is remembered of each batch
-- KEYS[7]  workers   HASH of the workers, and when (ms) each wrote its last heartbeat
-- KEYS[8]  history   LIST of samples of the bucket's counters
-- KEYS[9]  paused    STRING, since when (ms) the bucket is paused
-- ARGV[1]  counted   events that the client has counted in the open batch, or -1
-- ARGV[2]  length    bytes of these events as an array, or 0
--
-- Returns 28 values, or {0} when the client must count the events of the open batch first, because
-- another client has changed it and it is long:
--    1  events in the open batch
--    2  events that are sealed and not claimed
--    3  events that are claimed
--    4  batches: the open batch, the sealed batches, and the claimed batches
--    5  batches that are claimed
--    6  bytes in all these batches
--    7  dead letters
--    8  ms that the oldest pending event has waited, or -1 when none is pending
--    9  workers with a heartbeat in the last 30 seconds
--   10  ms that the bucket has been paused, or -1 when it is not paused
--   11  batches that have failed and not succeeded since, among the oldest 100 that workers hold or
--       have released
--   12  number of the last attempt of the oldest failing batch, 1 for a piece of a batch that failed, or
--       0 when none fails
--   13  ms since the newest sample, or -1 when there is none
--   14  ms since the second newest sample, or since the newest if it is the only one, or -1
--   15  the total of appended events at the time of 14, or -1
--   16  the total of processed events at the time of 14, or -1
--   17  total of appended events
--   18  total of processed events
--   19  total of buried events
--   20  total of replayed events
--   21  total of lost events
--   22  total of events dropped as the newest
--   23  total of events dropped as the oldest
--   24  total of purged events
--   25  total of discarded dead letters
--   26  total of expired dead letters
--   27  error that the oldest failing batch last failed with, or ''
--   28  ms since the outage began, or -1 when there is none
-- Writes nothing.

-- @needs appended attempts clock delivered entries group look_open_briefly look_sealed noted_open
-- @needs numbers opened_at outage read_samples totals

local HEARD_OF_MS = 30 * 1000 -- a worker writes a heartbeat every 10 s

local open, batches, dead, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local appends, attempts, workers = KEYS[5], KEYS[6], KEYS[7]
local history, paused = KEYS[8], KEYS[9]
local counted, length = tonumber(ARGV[1]), tonumber(ARGV[2])

local now = now_ms()
local function ms_since(ms) return ms and math.max(0, now - ms) or -1 end

-- When the oldest event was appended that is sealed and that no worker holds, or nil. That event is in
-- a batch that was never delivered, or in one that was released or split.
local function oldest_sealed()
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
local function deliveries()
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

local function count_workers()
  local beats, count = redis.call('HVALS', workers), 0
  for _, beat_ms in ipairs(beats) do
    -- A heartbeat from the future was overwritten by another client, or was written before the
    -- clock of Redis was set back.
    if math.abs(now - (whole(beat_ms) or 0)) <= HEARD_OF_MS then count = count + 1 end
  end
  return count
end

local noted = noted_open(appends)
local batch, held = look_open_briefly(open, noted), look_sealed(batches, stats)
if not batch then
  if counted < 0 then return { 0 } end
  batch = { count = counted, bytes = length, opened = counted > 0 and opened_at(noted, counted) }
end
redis.call('HLEN', attempts) -- a key of another type must fail here
local opened, claimed, failing, attempt, error = batch.opened, 0, 0, 0, ''
if held.entries > 0 then
  opened = oldest_sealed() or opened
  claimed, failing, attempt, error = deliveries()
end
local paused_ms = redis.call('GET', paused)
local newest = sample_at(history, -1)
local before = sample_at(history, -2) or newest
return {
  -- 1 to 3: events
  batch.count, held.sealed, held.claimed,
  -- 4 to 6: batches
  held.entries + (batch.count > 0 and 1 or 0), claimed, held.bytes + batch.bytes,
  -- 7 to 10: dead letters, age, workers, pause
  redis.call('XLEN', dead), ms_since(opened), count_workers(),
  ms_since(paused_ms and (whole(paused_ms) or now)),
  -- 11 and 12: failing batches
  failing, attempt,
  -- 13 to 16: samples
  ms_since(newest and newest.ms), ms_since(before and before.ms),
  before and before.appended or -1, before and before.processed or -1,
  -- 17 to 21: totals
  appended_total(stats, noted.noted), total_of(stats, 'processed'), total_of(stats, 'buried'),
  total_of(stats, 'replayed'), total_of(stats, 'lost'),
  -- 22 to 26: totals of dropped events
  total_of(stats, 'dropped_newest'), total_of(stats, 'dropped_oldest'),
  total_of(stats, 'dropped_purged'), total_of(stats, 'dropped_discarded'),
  total_of(stats, 'dropped_expired'),
  -- 27 and 28: error of the oldest failing batch, outage
  error, ms_since(outage_at(stats).since),
}
