-- Shared: the consumer group of the stream, which knows who holds each batch.

local GROUP = 'drain'
local NOBODY = 'released' -- holds the released batches: no worker has this name, so no ack fits
-- A new piece of a split batch gets an idle time of two years. So a claim finds the pieces among the
-- other batches by asking for more than one year, even if the clock was set meanwhile.
local UNTRIED_MS = 365 * 24 * 60 * 60 * 1000

-- Deliveries that are not acknowledged, as XPENDING lists them. An empty list when there is no
-- group.
local function deliveries_of(batches, ...)
  local found = redis.pcall('XPENDING', batches, GROUP, ...)
  return found.err and {} or found
end
