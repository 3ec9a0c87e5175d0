-- Note that a worker lives.
--
-- Atomic so that the names of workers that are long gone do not pile up.
--
-- KEYS[1]  workers   HASH of the workers, and when each was last heard of
-- ARGV[1]  consumer  name of the worker
--
-- Returns how many workers are noted.
-- @include clock.lua counters.lua workers.lua

local workers = KEYS[1]
local consumer = ARGV[1]

local noted = redis.call('HGETALL', workers)

-- A write that needs no memory, so that a full server lets the script run to its end.
redis.call('PERSIST', workers)
local now = now_ms()
for i = 1, #noted, 2 do
  if math.abs(now - (whole(noted[i + 1]) or 0)) > FORGOTTEN_MS then
    redis.call('HDEL', workers, noted[i])
  end
end
redis.call('HSET', workers, consumer, now)
return redis.call('HLEN', workers)
