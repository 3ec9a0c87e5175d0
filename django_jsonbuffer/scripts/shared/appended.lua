-- Shared: reads the total of appended events.
-- @needs appended_of

local function appended_total(stats, noted)
  return appended_of(redis.call('HGET', stats, 'appended'), noted)
end
