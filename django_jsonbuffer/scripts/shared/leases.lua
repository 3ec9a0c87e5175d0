-- Shared: the lease of a batch.
-- @needs group

-- Whether the worker holds this delivery of the batch, and not a later one.
local function is_held(batches, worker, id, attempt)
  local held = deliveries_of(batches, id, id, 1, worker)[1]
  return held ~= nil and held[4] == attempt
end
