-- Shared: what has failed of each batch. Takes no KEYS and no ARGV of its own. Needs clock.lua and
-- counters.lua.

-- What has failed of a batch: how often its processor did, how many workers died with it, and when
-- the first of these was.
local function attempts_at(attempts, id)
  local text = redis.call('HGET', attempts, id) or ''
  local failures, deaths, first_ms = string.match(text, '^(%d+) (%d+) (%d+)$')
  return {
    failures = whole(failures) or 0, deaths = whole(deaths) or 0, first_ms = whole(first_ms) or now_ms(),
  }
end

local function remember_attempts(attempts, id, failures, deaths, first_ms)
  redis.call('HSET', attempts, id, string.format('%d %d %.0f', failures, deaths, first_ms))
end
