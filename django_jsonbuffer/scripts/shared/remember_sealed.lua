-- Shared: stores the counters of the sealed batches, so that the next script need not count them.

-- `held` has the fields that look_sealed() returns.
local function remember_sealed(batches, stats, held)
  redis.call('HSET', stats, 'sealed', held.sealed, 'claimed', held.claimed,
    'sealed_bytes', held.bytes, 'sealed_batches', redis.call('XLEN', batches))
end
