-- Shared: stores the failures in a row of a bucket, and the outage that they may mean.

-- `outage` has the fields that outage_at() returns.
local function remember_outage(stats, outage)
  redis.call('HSET', stats, 'outage', string.format('%d/%d/%s/%s/%.0f/%d/%.0f', outage.failed,
    outage.alone, outage.since and string.format('%.0f', outage.since) or '', outage.by,
    outage.retry, outage.tries, outage.told))
end
