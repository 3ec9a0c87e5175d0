-- Shared: entries of the stream that another client put there and that are not batches.
-- @needs dead_letters remove

local MOST_SET_ASIDE = 100 -- in one call, so that no call blocks Redis for long

-- Moves the whole entry to the dead letters.
local function set_aside(batches, dead, stats, attempts, entry)
  add_dead_letter(dead, stats, table.concat(entry[2], ' '),
    'The stream of sealed batches held an entry that is not a batch.', entry[1], 0)
  remove(batches, attempts, entry[1])
end
