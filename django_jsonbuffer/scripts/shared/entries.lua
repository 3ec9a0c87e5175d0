-- Shared: the entries of the stream of sealed batches.
-- @needs fields group numbers

local LARGEST_ID = '18446744073709551615-18446744073709551615'

-- The events of an entry and their number, or nil when the entry is not a batch, because another
-- client put it there.
local function contents(entry)
  local events, count = field(entry[2], 'events'), whole(field(entry[2], 'count'))
  if events and count and whole(field(entry[2], 'opened')) then return events, count end
  return nil
end

-- Calls visit(entry, is_claimed) for each entry, oldest first, until visit returns true. Reads
-- `portion` entries at a time.
local function each_entry(batches, portion, visit)
  local claimed = {}
  local total = deliveries_of(batches)[1] or 0
  if total > 0 then
    for _, held in ipairs(deliveries_of(batches, '-', '+', total)) do
      if held[2] ~= NOBODY then claimed[held[1]] = true end
    end
  end
  local from = '-'
  while true do
    local entries = redis.call('XRANGE', batches, from, '+', 'COUNT', portion)
    if #entries == 0 then return end
    for _, entry in ipairs(entries) do
      -- Redis refuses a range that begins behind the largest possible id.
      if visit(entry, claimed[entry[1]]) or entry[1] == LARGEST_ID then return end
      from = '(' .. entry[1]
    end
  end
end
