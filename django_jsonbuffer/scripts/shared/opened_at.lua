-- Shared: when an open batch was opened that another client has changed.
-- @needs clock

-- When (ms) the first of these events was appended, as far as is noted. A batch that has grown still
-- has its first event, and so the same age.
local function opened_at(noted, found)
  return noted.opened and found > noted.noted and noted.opened or now_ms()
end
