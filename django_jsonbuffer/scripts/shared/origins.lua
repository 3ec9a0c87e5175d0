-- Shared: origins, which identify events.

-- Each open batch gets an origin when it is opened. An event is identified for ever by the origin of its
-- open batch and by its place there, counted from 0, whatever batch it is in later. So an origin must
-- never come again: it consists of the time (ms), the token of the call, and a number within the call.
local function new_origin(now, token, number)
  return string.format('%.0f-%s-%d', now, token, number)
end
