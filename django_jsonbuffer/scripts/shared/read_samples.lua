-- Shared: reads the samples of a bucket's history.
-- @needs numbers

-- A sample is a text of five whole numbers: when it was taken (ms), events pending, dead letters, and
-- the totals appended and processed.

-- The sample at that place from the end, -1 for the newest, as {ms, appended, processed}; or nil.
local function sample_at(history, place)
  local text = redis.call('LINDEX', history, place) or ''
  local ms, appended, processed = string.match(text, '^(%d+) %d+ %d+ (%d+) (%d+)$')
  ms, appended, processed = whole(ms), whole(appended), whole(processed)
  return ms and appended and processed and { ms = ms, appended = appended, processed = processed }
end
