-- Shared: the time of the server, by which all is measured. Takes no KEYS and no ARGV of its own.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
