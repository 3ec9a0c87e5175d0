-- Replay dead letters: their events become one batch, behind all that is sealed.
--
-- Atomic so that each event is in a dead letter or in the batch, never in both. A copy of the call
-- that arrives later finds no dead letter, and does nothing.
--
-- KEYS[1]  batches  STREAM of sealed batches
-- KEYS[2]  dead     STREAM of dead letters
-- KEYS[3]  stats    HASH of the bucket's counters
-- ARGV[1]  token    field of the new batch
-- ARGV[2…] ids      of the dead letters, whose events the caller knows to be JSON
--
-- Returns how many events were replayed.

-- @needs clock counters fields leave_groups look_sealed origins permissions remember_sealed wake

local batches, dead, stats = KEYS[1], KEYS[2], KEYS[3]
local token = ARGV[1]
local FIRST_ARGV = 2
local MOST_TRACES = 128

local refusal = missing_permission(batches)
if refusal then return refusal end

local held = look_sealed(batches, stats)
local events, ids, origins, traces, left = {}, {}, {}, {}, {}
local now = now_ms()
for at = FIRST_ARGV, #ARGV do
  local letter = redis.call('XRANGE', dead, ARGV[at], ARGV[at])[1]
  if letter then
    local trace = string.match(field(letter[2], 'trace') or '', '^%x+%-%x+$')
    if trace and #traces < MOST_TRACES then
      table.insert(traces, string.format('%s:%d:1', trace, #events))
    end
    table.insert(events, field(letter[2], 'event'))
    table.insert(ids, letter[1])
    note_left(left, letter)
    local origin = field(letter[2], 'origin') or ''
    table.insert(origins, origin ~= '' and origin or new_origin(now, token, at) .. ':0:1')
  end
end
if #ids == 0 then return 0 end

-- All events are copied before the first dead letter is removed, because a full Redis refuses the
-- copy.
local array = '[' .. table.concat(events, ',') .. ']'
redis.call('XADD', batches, '*', 'events', array, 'count', #ids, 'opened', now,
  'token', token, 'origins', table.concat(origins, ' '),
  'traces', table.concat(traces, ' '))
for _, id in ipairs(ids) do redis.call('XDEL', dead, id) end
leave_groups(dead, stats, left)
held.sealed, held.bytes = held.sealed + #ids, held.bytes + #array
remember_sealed(batches, stats, held)
bump(stats, 'replayed', #ids)
wake(batches, 's')
return #ids
