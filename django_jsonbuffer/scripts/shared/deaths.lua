-- Shared: counts the deaths of workers.

-- Two more bury a single event. What kills every worker is an outage, so an event is buried only if it
-- kills again when its processor succeeds with others. The first of the two may be older, because a
-- death is noticed when the lease has run out.
local MOST_DEATHS_IN_OUTAGE = 3

-- Counts the death of a worker in `past`. `successes` are those of the bucket.
local function count_death(past, successes, now)
  local others_succeeded = past.successes and successes > past.successes
  if others_succeeded or past.deaths < MOST_DEATHS_IN_OUTAGE then past.deaths = past.deaths + 1 end
  past.first_ms, past.successes = past.first_ms or now, past.successes or successes
end
