-- Shared: reads what is remembered of a batch that was delivered, or that is a piece of another.
-- @needs numbers

-- Returns a table:
--   failures    failures that count towards max_attempts
--   deaths      workers that died with it
--   first_ms    time of the first failure or death, or nil
--   successes   the bucket's successes at the first failure, or at a later one that may be due
--               to an outage; or nil
--   changed     'c' when its error has changed since the last attempt, else ''
--   outlived    'o' when others have succeeded since the first failure, else ''
--   opened      when it was opened, or nil
--   claimed_ms  when it was last claimed, or nil
--   token       its token, or ''
--   error       its last error, or ''
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
