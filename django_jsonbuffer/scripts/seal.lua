-- Seal the open batch, whatever its size and age, unless the bucket is paused.
--
-- Atomic so that every event is in the open batch or in a sealed one, never in both.
--
-- KEYS[1]  open     STRING, the open batch
-- KEYS[2]  batches  STREAM of sealed batches
-- KEYS[3]  dead     STREAM of dead letters
-- KEYS[4]  stats    HASH of the bucket's counters
-- KEYS[5]  appends  HASH of the open batch as it was left, and of the producers
-- KEYS[6]  paused   STRING, since when (ms) the bucket is paused
-- ARGV[1]  token    field of the batch that this call seals
--
-- Returns {id of the newest batch; 1 when a foreign value became a dead letter, else 0}. The id is
-- false when there is no batch, or when the bucket is paused.

-- @needs adopt look_open look_sealed permissions remember_open remember_sealed sealing

local open, batches, dead, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local appends, paused = KEYS[5], KEYS[6]
local token = ARGV[1]

local refusal = missing_permission(open)
if refusal then return refusal end

if redis.call('GET', paused) then return { false, 0 } end
local batch, held = look_open(open, appends), look_sealed(batches, stats)
-- Keys of another type must fail here, before the first write.
redis.call('XLEN', dead)
redis.call('HLEN', stats)
local foreign = batch.is_foreign and 1 or 0

-- A full Redis decides at the first write of a script whether the script may run. This script must
-- run, because only draining frees memory. So its first write needs no memory, and removes nothing.
redis.call('PERSIST', open)
adopt(open, dead, appends, stats, batch)
if batch.count > 0 then
  local refusal = seal(open, batches, batch, held, token)
  if refusal then return refusal end
  remember_open(open, appends, stats, batch)
  remember_sealed(batches, stats, held)
end

local newest = redis.call('XREVRANGE', batches, '+', '-', 'COUNT', 1)[1]
return { newest and newest[1] or false, foreign }
