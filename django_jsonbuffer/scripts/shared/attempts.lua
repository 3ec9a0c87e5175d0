-- Shared: reads the failures, deaths and outages of a batch.
-- @needs numbers

-- Returns a table with these fields:
--   failures    how often the processor failed with the batch
--   deaths      how many workers died with it
--   first_ms    when the first failure, outage or death was, or nil
--   outages     its outages, without those between which no other events were processed
--   processed   the bucket's total of processed events at its last outage, or nil
--   claimed_ms  when a worker last claimed it, or nil
--   error       class of the exception that it last failed with, or ''
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
