-- Shared: lets the next try of an outage come at once.
-- @needs clock outage remember_outage

-- The last try has told nothing about the outage, so workers need not wait for the end of the pause.
local function end_pause(stats)
  local outage = outage_at(stats)
  if outage.retry > 0 then
    outage.retry = now_ms()
    remember_outage(stats, outage)
  end
end
