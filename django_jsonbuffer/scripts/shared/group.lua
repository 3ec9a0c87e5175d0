-- Shared: the consumer group of the stream, which knows who holds each batch.

local GROUP = 'drain'
local NOBODY = 'released' -- holds the released batches: no worker has this name, so no ack fits

-- Deliveries that are not acknowledged, as XPENDING lists them. An empty list when there is no
-- group.
local function deliveries_of(batches, ...)
  local found = redis.pcall('XPENDING', batches, GROUP, ...)
  return found.err and {} or found
end
