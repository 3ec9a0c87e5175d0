-- Shared: what the stream of sealed batches holds, from the counters, or else from its entries.
-- @needs entries sealed_as_left

local function count_sealed(batches)
  local held = { sealed = 0, claimed = 0, bytes = 0, entries = redis.call('XLEN', batches) }
  each_entry(batches, 16, function(entry, is_claimed)
    local events, count = contents(entry)
    if events then
      local state = is_claimed and 'claimed' or 'sealed'
      held[state] = held[state] + count
      held.bytes = held.bytes + #events
    end
  end)
  return held
end

-- Returns a table like sealed_as_left(), never nil. Writes nothing.
local function look_sealed(batches, stats)
  return sealed_as_left(batches, stats) or count_sealed(batches)
end
