-- Shared: looks up the failures in a row of a bucket, and the outage that they may mean.
-- @needs outage_of

local function outage_at(stats)
  return outage_of(redis.call('HGET', stats, 'outage'))
end
