-- Shared: reads what became of a batch's attempts.
-- @needs numbers

-- Returns a table with these fields:
--   failures    how often the processor failed with the batch
--   deaths      how many workers died with it
--   first_ms    when the first failure, outage or death was, or nil
--   outages     how often its sink was away although other events had been processed meanwhile
--   processed   the bucket's total of processed events when the sink was last away, or nil
--   claimed_ms  when a worker last claimed it, or nil
--   error       kind of the error that it last failed with, or ''
local function attempts_at(attempts, id)
  local text = redis.call('HGET', attempts, id) or ''
  local failures, deaths, first_ms, outages, processed, claimed_ms, error =
    string.match(text, '^(%d+) (%d+) (%d*) (%d+) (%d*) (%d*) (.*)$')
  return {
    failures = whole(failures) or 0, deaths = whole(deaths) or 0,
    first_ms = whole(first_ms), outages = whole(outages) or 0, processed = whole(processed),
    claimed_ms = whole(claimed_ms), error = error or '',
  }
end
