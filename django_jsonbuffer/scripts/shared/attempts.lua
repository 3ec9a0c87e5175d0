-- Shared: reads what is remembered of a batch that was delivered, or that is a piece of another.
-- @needs numbers

-- Returns a table with these fields:
--   failures    how often the processor failed with the event alone while others succeeded
--   deaths      how many workers died with the batch
--   first_ms    when the first failure or death was, or nil
--   successes   the bucket's successes at the first failure, or nil when there was no failure
--   changed     'c' when its error has changed since the last failure that was counted, else ''
--   outlived    'o' when others have succeeded since the first failure, else ''
--   opened      when the batch was opened, or nil
--   claimed_ms  when a worker last claimed it, or nil
--   token       token of the batch, or ''
--   error       the error that the batch last failed with, or ''
local function attempts_at(attempts, id)
  local text = redis.call('HGET', attempts, id) or ''
  local failures, deaths, first_ms, successes, changed, outlived, opened, claimed_ms, token, error =
    string.match(text, '^(%d+)/(%d+)/(%d*)/(%d*)/(c?)(o?)/(%d*)/(%d*)/(%x*)/(.*)$')
  return {
    failures = whole(failures) or 0, deaths = whole(deaths) or 0,
    first_ms = whole(first_ms), successes = whole(successes),
    changed = changed or '', outlived = outlived or '', opened = whole(opened),
    claimed_ms = whole(claimed_ms), token = token or '', error = error or '',
  }
end
