-- Shared: the total of appended events.

-- The counter is without the events that are noted in the open batch, so that an append need not write
-- it. It is negative when most events of the open batch come from another client. `noted` is their
-- number.
local function appended_of(counter, noted)
  local text = counter or ''
  local counted = #text <= 16 and tonumber(string.match(text, '^%-?%d+$')) or 0
  return math.max(0, counted + noted)
end
