-- Shared: dead letters. Takes no KEYS and no ARGV of its own. Needs counters.lua.

-- Keeps what cannot be processed, and why. `batch` is the id of the batch that it came in, or ''.
local function add_dead_letter(dead, stats, event, error, batch, attempts)
  redis.call('XADD', dead, '*', 'event', event, 'error', error, 'batch', batch,
    'attempts', attempts)
  bump(stats, 'buried', 1)
end
