-- Seal the open batch, whatever its size and age, unless the bucket is paused.
--
-- Atomic so that every event is in the open batch or in a sealed one, never in both.
--
-- KEYS[1]  open     STRING, the open batch
-- KEYS[2]  batches  STREAM of sealed batches
-- KEYS[3]  dead     STREAM of dead letters
-- KEYS[4]  stats    HASH of the bucket's counters
-- KEYS[5]  paused   STRING, since when (ms) the bucket is paused
--
-- Returns {id of the newest batch, or false when there is none or the bucket is paused; 1 when rubbish
-- was set aside}.
-- @include clock.lua counters.lua as_left.lua dead_letters.lua sealed_batches.lua open_batch.lua

local open, batches, dead, stats, paused = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

if redis.call('GET', paused) then return { false, 0 } end
local batch, held = look(open, stats), look_sealed(batches, stats)
redis.call('XLEN', dead)
local rubbish = batch.rubbish

-- A write that needs no memory, and nothing from the key: a full server decides at the first write
-- of a script whether it may run, and this one must, since only draining frees memory.
redis.call('PERSIST', open)
adopt(open, dead, stats, batch)
if batch.count > 0 then
  local stuck = seal(open, batches, batch, held)
  if stuck then return stuck end
  remember(open, stats, batch)
  remember_sealed(batches, stats, held)
end

local newest = redis.call('XREVRANGE', batches, '+', '-', 'COUNT', 1)[1]
return { newest and newest[1] or false, rubbish and 1 or 0 }
