-- Retire a worker: the batches that it still holds can be claimed at once. Workers that hold nothing
-- are taken out of the consumer group, so that their names do not pile up. If the worker releases a
-- batch in an outage, the next try need not wait for the lease.
--
-- Atomic so that no worker is removed between its claim and its ack: Redis would never deliver the
-- batches of a removed worker again. If a worker lives, its next claim adds it again.
--
-- KEYS[1]  batches   STREAM of sealed batches
-- KEYS[2]  stats     HASH of the bucket's counters
-- KEYS[3]  workers   HASH of the workers, and when (ms) each wrote its last heartbeat
-- ARGV[1]  worker    name of the worker
-- ARGV[2]  lease_ms  how long a claim holds
--
-- Returns how many batches the worker still held.

-- @needs end_pause entries fields group look_sealed permissions remember_sealed

local batches, stats, workers = KEYS[1], KEYS[2], KEYS[3]
local worker, lease_ms = ARGV[1], ARGV[2]

local refusal = missing_permission(batches)
if refusal then return refusal end

local held = look_sealed(batches, stats)

-- HDEL and XCLAIM need no memory, so a full Redis lets the script run to its end.
redis.call('HDEL', workers, worker)
if redis.pcall('XINFO', 'CONSUMERS', batches, GROUP).err then return 0 end
local released = 0
for _, found in ipairs(deliveries_of(batches, '-', '+', 1000, worker)) do
  local entry = redis.call('XRANGE', batches, found[1], found[1])[1]
  local events, count = nil, 0
  if entry then events, count = contents(entry) end
  redis.call('XCLAIM', batches, GROUP, NOBODY, 0, found[1], 'IDLE', lease_ms, 'JUSTID')
  if events then
    held.claimed, held.sealed = held.claimed - count, held.sealed + count
    released = released + 1
  end
end
if released > 0 then
  remember_sealed(batches, stats, held)
  end_pause(stats)
end

for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', batches, GROUP)) do
  if field(info, 'pending') == 0 then
    redis.call('XGROUP', 'DELCONSUMER', batches, GROUP, field(info, 'name'))
  end
end
return released
