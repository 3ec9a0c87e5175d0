-- Shared: the history of a bucket. Takes no KEYS and no ARGV of its own. Needs clock.lua and
-- counters.lua.
--
-- Each sample is a text of whole numbers: when it was taken (ms), events pending, dead letters, and
-- the totals appended and processed.

local SAMPLES = 240
local BETWEEN_MS = 60 * 1000

local function total(stats, name)
  return whole(redis.call('HGET', stats, name)) or 0
end

local function take_sample(history, pending, dead_letters, appended, processed)
  redis.call('RPUSH', history, string.format('%.0f %.0f %.0f %.0f %.0f', now_ms(), pending,
    dead_letters, appended, processed))
  redis.call('LTRIM', history, -SAMPLES, -1)
end

-- The sample at that place from the end, -1 for the newest, as {ms, appended, processed}; or nil.
local function sample_at(history, place)
  local text = redis.call('LINDEX', history, place) or ''
  local ms, appended, processed = string.match(text, '^(%d+) %d+ %d+ (%d+) (%d+)$')
  ms, appended, processed = whole(ms), whole(appended), whole(processed)
  return ms and appended and processed and { ms = ms, appended = appended, processed = processed }
end

local function is_due(history)
  local newest = sample_at(history, -1)
  -- One of the future is spoilt, or of before the server's clock was set back.
  return not newest or math.abs(now_ms() - newest.ms) >= BETWEEN_MS
end
