-- Shared: the lease of a batch.
-- @needs attempts group

-- The id in the stream of a batch, if the worker holds this delivery of it, and not a later one; or
-- nil. `batch` is that id, a dash and the token. After the server has lost its last writes, another
-- batch may get the same id, but not the same token.
local function held_id(batches, attempts, worker, batch, attempt)
  local id, token = string.match(batch, '^(%d+%-%d+)%-?(%x*)$')
  local held = deliveries_of(batches, id, id, 1, worker)[1]
  if held and held[4] == attempt and attempts_at(attempts, id).token == token then return id end
  return nil
end
