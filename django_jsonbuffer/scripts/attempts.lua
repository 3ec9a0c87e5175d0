-- Shared: what became of each batch so far. Takes no KEYS and no ARGV of its own. Needs clock.lua and
-- counters.lua.

-- What has failed of a batch: how often its processor did, how many workers died with it, when the
-- first of these was, how often its sink was away though other events had been processed meanwhile,
-- how many of the bucket's had been processed when it last was (nil if it never was), when a worker
-- last claimed it, and the kind of the error that it last failed with.
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

local function remember_attempts(attempts, id, past)
  local function told(number) return number and string.format('%.0f', number) or '' end
  redis.call('HSET', attempts, id, string.format('%d %d %s %d %s %s %s', past.failures, past.deaths,
    told(past.first_ms), past.outages, told(past.processed), told(past.claimed_ms), past.error))
end
