-- Shared: whether leases that have run out by the server's clock can be believed.

-- Workers write a heartbeat every 10 seconds, or three times in a shorter lease. So a longer time
-- without any heartbeat means that no worker lived, or that the clock was set, or that nobody could
-- reach the server. Then a living worker may not have renewed its lease, and gets time to do it.

-- Whether the last heartbeat, at `clock` by the server's clock, was too long ago. `clock` may be nil.
local function has_gap(clock, now, lease_ms)
  return not clock or now - clock > math.max(2000, math.min(lease_ms / 2, 15000))
end

-- Whether the clock was set back. Less than a second does not matter.
local function is_set_back(clock, now) return clock ~= nil and clock - now > 1000 end
