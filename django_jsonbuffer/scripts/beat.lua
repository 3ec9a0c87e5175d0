-- Write the heartbeat of a worker: see shared/heartbeat.lua.
--
-- Atomic so that several workers together take one sample a minute, and so that of several workers that
-- want to be alone only one begins.
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
-- ARGV[4]  if_used   1 to write nothing to a bucket that was never used, else 0
--
-- Returns how many workers have a heartbeat, or 0 when nothing was written.

-- @needs clock heartbeat numbers permissions

local open, batches, dead, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local appends, workers, history = KEYS[5], KEYS[6], KEYS[7]
local worker, lease_ms, busy_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local if_used = ARGV[4] == '1'

local refusal = missing_permission(open)
if refusal then return refusal end

-- Whether another worker has written a heartbeat within the last `busy_ms`.
local function has_other_worker()
  local noted, now = redis.call('HGETALL', workers), now_ms()
  for i = 1, #noted, 2 do
    if noted[i] ~= worker and math.abs(now - (whole(noted[i + 1]) or 0)) < busy_ms then return true end
  end
  return false
end

if if_used and redis.call('HLEN', stats) == 0 then return 0 end
if has_other_worker() then return 0 end
beat(open, batches, dead, stats, appends, workers, history, worker, lease_ms)
return redis.call('HLEN', workers)
