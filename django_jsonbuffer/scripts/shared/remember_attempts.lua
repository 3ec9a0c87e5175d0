-- Shared: stores what is remembered of a batch.

-- `past` has the fields that attempts_at() returns.
local function remember_attempts(attempts, id, past)
  local function digits(number) return number and string.format('%.0f', number) or '' end
  redis.call('HSET', attempts, id, table.concat({
    digits(past.failures), digits(past.deaths), digits(past.first_ms), digits(past.successes),
    past.changed .. past.outlived, digits(past.opened), digits(past.claimed_ms), past.token,
    past.error,
  }, '/'))
end
