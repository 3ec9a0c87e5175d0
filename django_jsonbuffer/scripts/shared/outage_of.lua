-- Shared: reads the failures in a row of a bucket, and the outage that they may mean.
-- @needs numbers

-- From the value of the field `outage`. Returns a table with these fields:
--   failed  weight of the failures since the last success
--   alone   weight of the failures of single events, and of exceptions that mean an outage
--   since   when the outage began (ms), or nil when there is none
--   by      'x' when its last try failed with an exception that means an outage, else ''
--   retry   before when (ms) no worker may try again, or 0 when workers do not wait yet
--   tries   tries that failed in the outage
--   told    when a worker last logged this outage (ms), or 0
local function outage_of(text)
  local failed, alone, since, by, retry, tries, told =
    string.match(text or '', '^(%d+)/(%d+)/(%d*)/(x?)/(%d+)/(%d+)/(%d+)$')
  return {
    failed = whole(failed) or 0, alone = whole(alone) or 0, since = whole(since), by = by or '',
    retry = whole(retry) or 0, tries = whole(tries) or 0, told = whole(told) or 0,
  }
end
