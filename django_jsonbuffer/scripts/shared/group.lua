-- Shared: the consumer group of the stream, which knows who holds each batch.

local GROUP = 'drain'
local NOBODY = 'released' -- holds the released batches: no worker has this name, so no ack fits
-- What has been idle for a year is a piece of a split batch: it begins with two, and so it is found
-- among the others, even if the clock is set.
local UNTRIED_MS = 365 * 24 * 60 * 60 * 1000

-- Deliveries that are not acknowledged, as XPENDING lists them. An empty list when there is no
-- group.
local function deliveries_of(batches, ...)
  local found = redis.pcall('XPENDING', batches, GROUP, ...)
  return found.err and {} or found
end
