-- Write the heartbeat of a worker, and once a minute a sample of the bucket's counters. Notice when
-- the clock of the server was set, so that leases and backoffs do not follow it.
--
-- Atomic so that the names of workers that are long gone do not pile up, and so that several workers
-- together take one sample a minute, and so that of several workers that want to be alone only one
-- begins.
--
-- KEYS[1]  open      STRING, the open batch
-- KEYS[2]  batches   STREAM of sealed batches
-- KEYS[3]  dead      STREAM of dead letters
-- KEYS[4]  stats     HASH of the bucket's counters
-- KEYS[5]  appends   HASH of the open batch as it was left, and of the producers
-- KEYS[6]  workers   HASH of the workers, and when (ms) each wrote its last heartbeat
-- KEYS[7]  history   LIST of samples of the bucket's counters
-- ARGV[1]  worker    name of the worker
-- ARGV[2]  lease_ms  how long a claim holds
-- ARGV[3]  busy_ms   write nothing if another worker's last heartbeat is not so old; 0 to write always
--
-- Returns how many workers have a heartbeat, or 0 when another worker's heartbeat was in the way.

-- @needs appended clock doubt group look_open_briefly look_sealed noted_open numbers permissions
-- @needs take_samples totals

local FORGOTTEN_MS = 24 * 60 * 60 * 1000

local open, batches, dead, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local appends, workers, history = KEYS[5], KEYS[6], KEYS[7]
local worker, lease_ms, busy_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local refusal = missing_permission(open)
if refusal then return refusal end

local noted, now = redis.call('HGETALL', workers), now_ms()
for i = 1, #noted, 2 do
  local age_ms = math.abs(now - (whole(noted[i + 1]) or 0))
  if noted[i] ~= worker and age_ms < busy_ms then return 0 end
end

-- The first write needs no memory, so that a full Redis lets the script run to its end.
redis.call('PERSIST', workers)
for i = 1, #noted, 2 do
  if math.abs(now - (whole(noted[i + 1]) or 0)) > FORGOTTEN_MS then
    redis.call('HDEL', workers, noted[i])
  end
end
redis.call('HSET', workers, worker, now)

local function watch_clock()
  local clock = whole(redis.call('HGET', stats, 'clock'))
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

-- An error must not end the script, because a lease is worth more than the rest.
pcall(watch_clock)
pcall(function()
  if not is_sample_due(history) then return end
  local batch = look_open_briefly(open, noted_open(appends))
  if batch then -- or the sample must wait until a client has counted the events
    take_sample(history, batch.count + look_sealed(batches, stats).sealed,
      redis.call('XLEN', dead), appended_total(stats, batch.noted), total_of(stats, 'processed'))
  end
end)
return redis.call('HLEN', workers)
