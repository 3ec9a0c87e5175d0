-- Shared: takes the samples of a bucket's history, one a minute.
-- @needs clock read_samples

local SAMPLES = 240
local BETWEEN_MS = 60 * 1000

local function is_sample_due(history)
  local newest = sample_at(history, -1)
  -- A sample from the future was overwritten by another client, or was taken before the clock of
  -- Redis was set back.
  return not newest or math.abs(now_ms() - newest.ms) >= BETWEEN_MS
end

-- Adds a sample in the form that read_samples.lua reads.
local function take_sample(history, pending, dead_letters, appended, processed)
  redis.call('RPUSH', history, string.format('%.0f %.0f %.0f %.0f %.0f', now_ms(), pending,
    dead_letters, appended, processed))
  redis.call('LTRIM', history, -SAMPLES, -1)
end
