-- Shared: what has failed of each batch. Takes no KEYS and no ARGV of its own. Needs clock.lua and
-- counters.lua.

-- What has failed of a batch: how often its processor did, how many workers died with it, when the
-- first of these was, how often its sink was away though other events had been processed meanwhile,
-- and how many of the bucket's had been processed when it last was; nil if it never was.
local function attempts_at(attempts, id)
  local text = redis.call('HGET', attempts, id) or ''
  local failures, deaths, first_ms, outages, processed =
    string.match(text, '^(%d+) (%d+) (%d+) ?(%d*) ?(%d*)$')
  return {
    failures = whole(failures) or 0, deaths = whole(deaths) or 0, first_ms = whole(first_ms) or now_ms(),
    outages = whole(outages) or 0, processed = whole(processed),
  }
end

local function remember_attempts(attempts, id, past)
  redis.call('HSET', attempts, id, string.format('%d %d %.0f %d %s', past.failures, past.deaths,
    past.first_ms, past.outages, past.processed and string.format('%.0f', past.processed) or ''))
end
