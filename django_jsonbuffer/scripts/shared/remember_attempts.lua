-- Shared: stores the failures, deaths and outages of a batch.

-- `past` has the fields that attempts_at() returns.
local function remember_attempts(attempts, id, past)
  local function digits(number) return number and string.format('%.0f', number) or '' end
  redis.call('HSET', attempts, id, string.format('%d %d %s %d %s %s %s', past.failures, past.deaths,
    digits(past.first_ms), past.outages, digits(past.processed), digits(past.claimed_ms),
    past.error))
end
