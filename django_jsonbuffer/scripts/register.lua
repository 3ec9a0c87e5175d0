-- Write down that a worker lives, and which buckets it serves. Or that it ends.
--
-- Atomic so that each worker learns all others of the same moment. Workers share the buckets by it.
--
-- KEYS[1]  registry  HASH of the workers, and of each when (ms) it was last heard of, a space, and the
--                    names of the buckets and the patterns that it serves
-- ARGV[1]  worker    name of the worker
-- ARGV[2]  serves    names and patterns, with spaces between; empty when the worker ends
-- ARGV[3]  alive_ms  a worker that was not heard of for so long has died
--
-- Returns {worker, what it serves} of each worker that lives, one behind the other.

-- @needs clock permissions

local registry = KEYS[1]
local worker, serves, alive_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])

local refusal = missing_permission(registry)
if refusal then return refusal end

local noted, now, living = redis.call('HGETALL', registry), now_ms(), {}
-- The first write needs no memory, so that a full Redis lets the script run to its end.
redis.call('HDEL', registry, worker)
for i = 1, #noted, 2 do
  local ms, its = string.match(noted[i + 1], '^(%d+) (.*)$')
  local is_alive = ms and math.abs(now - tonumber(ms)) < alive_ms
  if is_alive and noted[i] ~= worker then
    table.insert(living, noted[i])
    table.insert(living, its)
  else
    redis.call('HDEL', registry, noted[i])
  end
end
if serves ~= '' then
  redis.call('HSET', registry, worker, string.format('%.0f ', now) .. serves)
  table.insert(living, worker)
  table.insert(living, serves)
end
return living
