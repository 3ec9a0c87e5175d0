-- Forget a group of dead letters that has no letter any more, because another client removed them.
--
-- Atomic so that a letter that is buried meanwhile stays in its group.
--
-- KEYS[1]  stats  HASH of the bucket's counters
-- ARGV[1]  group  shape of the errors of the group
-- ARGV[2]  last   the id of a dead letter, or '(' and an id: up to there is no letter of the group
--
-- Returns 1, or 0 when the group may have a later letter, or is not known.

-- @needs counters letter_groups permissions

local stats = KEYS[1]
local group, last = ARGV[1], ARGV[2]

local refusal = missing_permission(stats)
if refusal then return refusal end

local name = GROUP_FIELD .. group
local found = letter_group(redis.call('HGET', stats, name))
if not found then return 0 end
local bracket, ms, number = string.match(last, '^(%(?)(%d+)%-(%d+)$')
local last_ms, last_number = string.match(found.last, '^(%d+)%-(%d+)$')
local ahead = tonumber(last_ms) - tonumber(ms)
if ahead == 0 then ahead = tonumber(last_number) - tonumber(number) end
if ahead > 0 or (ahead == 0 and bracket ~= '') then return 0 end
redis.call('HDEL', stats, name)
bump(stats, 'groups', -1)
return 1
