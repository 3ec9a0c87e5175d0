-- Shared: the workers that drain a bucket. Takes no KEYS and no ARGV of its own. Needs counters.lua
-- and clock.lua.

local HEARD_OF_MS = 30 * 1000            -- a worker beats every 10 s
local FORGOTTEN_MS = 24 * 60 * 60 * 1000

-- How many of them were heard of lately.
local function count_workers(workers)
  local noted, count = redis.call('HVALS', workers), 0
  local now = now_ms()
  for _, beat_ms in ipairs(noted) do
    -- One of the future is spoilt, or of before the server's clock was set back.
    if math.abs(now - (whole(beat_ms) or 0)) <= HEARD_OF_MS then count = count + 1 end
  end
  return count
end
