-- Shared: when an open batch was opened that another client has changed.
-- @needs clock

-- When (ms) the first of these events was appended. If another client has only added events, the first
-- one is still there, and its time is noted. Otherwise the time is not known, and now is taken.
local function opened_at(noted, found)
  return noted.opened and found > noted.noted and noted.opened or now_ms()
end
