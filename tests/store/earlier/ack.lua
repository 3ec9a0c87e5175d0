-- Acknowledge a batch whose events have been processed.
--
-- Atomic so that a batch is either still leased or gone, never both. A copy of the call that
-- arrives later finds another holder, or another delivery, and does nothing.
--
-- KEYS[1]  batches   STREAM of sealed batches
-- KEYS[2]  stats     HASH of the bucket's counters
-- KEYS[3]  attempts  HASH of what is remembered of each batch
-- ARGV[1]  worker    name of the worker that holds the lease
-- ARGV[2]  batch     id of the batch, with its token
-- ARGV[3]  attempt   number of the delivery that the worker holds, from 1
-- ARGV[4]  count     events of the batch
-- ARGV[5]  bytes     bytes of the batch
--
-- Returns {how long the outage was that ends with this success (ms), or -1}, or an empty list when
-- another worker holds the lease or the batch is gone.

-- Shared: adds to a total of the bucket.

-- A total that another client has overwritten begins again, because an error here would stop the
-- script between the copy of an event and its removal.
local function bump(stats, total, by)
  if by == 0 then return end
  local reply = redis.pcall('HINCRBY', stats, total, by)
  if type(reply) == 'table' and reply.err then redis.call('HSET', stats, total, by) end
end
-- Shared: the lease of a batch.
-- Shared: reads what is remembered of a batch that was delivered, or that is a piece of another.
-- Shared: numbers that Redis holds as text.

-- The number, or nil when the text is missing or is not a whole number of up to 15 digits.
local function whole(text)
  return text and #text <= 15 and string.find(text, '^%d+$') and tonumber(text) or nil
end


-- Returns a table:
--   failures    failures that count towards max_attempts
--   deaths      workers that died with it
--   first_ms    time of the first failure or death, or nil
--   successes   the bucket's successes at the first failure, or at a later one that may be due
--               to an outage; or nil
--   changed     'c' when its error has changed since the last attempt, else ''
--   outlived    'o' when others have succeeded since the first failure, else ''
--   opened      when it was opened, or nil
--   claimed_ms  when it was last claimed, or nil
--   token       its token, or ''
--   error       its last error, or ''
local function attempts_at(attempts, id)
  local text = redis.call('HGET', attempts, id) or ''
  local failures, deaths, first_ms, successes, changed, outlived, opened, claimed_ms, token, error =
    string.match(text, '^(%d+)/(%d+)/(%d*)/(%d*)/(c?)(o?)/(%d*)/(%d*)/(%x*)/(.*)$')
  return {
    failures = whole(failures) or 0, deaths = whole(deaths) or 0,
    first_ms = whole(first_ms), successes = whole(successes),
    changed = changed or '', outlived = outlived or '', opened = whole(opened),
    claimed_ms = whole(claimed_ms), token = token or '', error = error or '',
  }
end
-- Shared: the consumer group of the stream, which knows who holds each batch.

local GROUP = 'drain'
local NOBODY = 'released' -- holds the released batches: no worker has this name, so no ack fits
-- A new piece of a split batch gets an idle time of two years. So a claim finds the pieces among the
-- other batches by asking for more than one year, even if the clock was set meanwhile.
local UNTRIED_MS = 365 * 24 * 60 * 60 * 1000

-- Deliveries that are not acknowledged, as XPENDING lists them. An empty list when there is no
-- group.
local function deliveries_of(batches, ...)
  local found = redis.pcall('XPENDING', batches, GROUP, ...)
  return found.err and {} or found
end


-- The id in the stream of a batch, if the worker holds this delivery of it, and not a later one; or
-- nil. `batch` is that id, a dash and the token. After the server has lost its last writes, another
-- batch may get the same id, but not the same token.
local function held_id(batches, attempts, worker, batch, attempt)
  local id, token = string.match(batch, '^(%d+%-%d+)%-?(%x*)$')
  local held = deliveries_of(batches, id, id, 1, worker)[1]
  if held and held[4] == attempt and attempts_at(attempts, id).token == token then return id end
  return nil
end
-- Shared: what the stream of sealed batches holds, from the counters, or else from its entries.
-- Shared: the entries of the stream of sealed batches.


local LARGEST_ID = '18446744073709551615-18446744073709551615'

-- The value of a name in a list of names and values, the form of stream entries and of XINFO; or nil.
local function field(list, name)
  for i = 1, #list, 2 do
    if list[i] == name then return list[i + 1] end
  end
  return nil
end

-- The events of an entry and their number, or nil when the entry is not a batch, because another
-- client put it there.
local function contents(entry)
  local events, count = field(entry[2], 'events'), whole(field(entry[2], 'count'))
  if events and count and whole(field(entry[2], 'opened')) then return events, count end
  return nil
end

-- Calls visit(entry, is_claimed) for each entry, oldest first, until visit returns true. Reads
-- `portion` entries at a time.
local function each_entry(batches, portion, visit)
  local claimed = {}
  local total = deliveries_of(batches)[1] or 0
  if total > 0 then
    for _, held in ipairs(deliveries_of(batches, '-', '+', total)) do
      if held[2] ~= NOBODY then claimed[held[1]] = true end
    end
  end
  local from = '-'
  while true do
    local entries = redis.call('XRANGE', batches, from, '+', 'COUNT', portion)
    if #entries == 0 then return end
    for _, entry in ipairs(entries) do
      -- Redis refuses a range that begins behind the largest possible id.
      if visit(entry, claimed[entry[1]]) or entry[1] == LARGEST_ID then return end
      from = '(' .. entry[1]
    end
  end
end
-- Shared: what the stream of sealed batches holds, if it is as the last script left it.


-- Returns {sealed, claimed, bytes, entries}: `sealed` and `claimed` are numbers of events. Returns nil
-- when the entries must be counted: another client has added or deleted entries, or the counters
-- are missing or not numbers, or the stream cannot be read. Writes nothing.
local function sealed_as_left(batches, stats)
  local entries = redis.pcall('XLEN', batches)
  if entries == 0 then return { sealed = 0, claimed = 0, bytes = 0, entries = 0 } end
  local known = redis.call('HMGET', stats, 'sealed', 'claimed', 'sealed_bytes', 'sealed_batches')
  local sealed, claimed, bytes = whole(known[1]), whole(known[2]), whole(known[3])
  if not (sealed and claimed and bytes) or whole(known[4]) ~= entries then return nil end
  return { sealed = sealed, claimed = claimed, bytes = bytes, entries = entries }
end


local function count_sealed(batches)
  local held = { sealed = 0, claimed = 0, bytes = 0, entries = redis.call('XLEN', batches) }
  each_entry(batches, 16, function(entry, is_claimed)
    local events, count = contents(entry)
    if events then
      local state = is_claimed and 'claimed' or 'sealed'
      held[state] = held[state] + count
      held.bytes = held.bytes + #events
    end
  end)
  return held
end

-- Returns a table like sealed_as_left(), never nil. Writes nothing.
local function look_sealed(batches, stats)
  return sealed_as_left(batches, stats) or count_sealed(batches)
end
-- Shared: checks that the Redis user may run each command of the script.

-- Returns nil, or the error that names a command which this user may not run. A script that writes
-- asks before its first write, because an error in the middle undoes nothing. Redis itself checks
-- the keys before a script begins. Before 7.0, Redis cannot tell, and this returns nil.
--
-- `key` is a key of the script. It stands for all arguments of each command: without any, servers
-- read beyond the end of the list and crash.
local function missing_permission(key)
  local may_run = redis.acl_check_cmd
  if not may_run then return nil end
  local command = not may_run('HDEL', key, key, key) and 'hdel' or not may_run('HGET', key, key, key) and 'hget' or not may_run('HINCRBY', key, key, key) and 'hincrby' or not may_run('HMGET', key, key, key) and 'hmget' or not may_run('HSET', key, key, key) and 'hset' or not may_run('TIME', key, key, key) and 'time' or not may_run('XACK', key, key, key) and 'xack' or not may_run('XDEL', key, key, key) and 'xdel' or not may_run('XLEN', key, key, key) and 'xlen' or not may_run('XPENDING', key, key, key) and 'xpending' or not may_run('XRANGE', key, key, key) and 'xrange'
  if not command then return nil end
  return redis.error_reply([[NOPERM This user may not run ']] .. command
    .. [['. Nothing was written.]])
end
-- Shared: stores the counters of the sealed batches, so that the next script need not count them.

-- `held` has the fields that look_sealed() returns.
local function remember_sealed(batches, stats, held)
  redis.call('HSET', stats, 'sealed', held.sealed, 'claimed', held.claimed,
    'sealed_bytes', held.bytes, 'sealed_batches', redis.call('XLEN', batches))
end
-- Shared: removes a sealed batch.


-- Returns 1, or 0 when another client has deleted the entry before.
local function remove(batches, attempts, id)
  redis.call('XACK', batches, GROUP, id)
  redis.call('HDEL', attempts, id)
  return redis.call('XDEL', batches, id)
end
-- Shared: a success of the processor.
-- Shared: the time of the server. All times are measured by it.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
-- Shared: reads the failures in a row of a bucket, and the outage that they may mean.


-- Returns a table with these fields:
--   failed  weight of the failures since the last success
--   alone   weight of the failures of single events, and of exceptions that mean an outage
--   since   when the outage began (ms), or nil when there is none
--   by      'x' when its last try failed with an exception that means an outage, else ''
--   retry   before when (ms) no worker may try again, or 0 when workers do not wait yet
--   tries   tries that failed in the outage
--   told    when a worker last logged this outage (ms), or 0
local function outage_at(stats)
  local text = redis.call('HGET', stats, 'outage') or ''
  local failed, alone, since, by, retry, tries, told =
    string.match(text, '^(%d+)/(%d+)/(%d*)/(x?)/(%d+)/(%d+)/(%d+)$')
  return {
    failed = whole(failed) or 0, alone = whole(alone) or 0, since = whole(since), by = by or '',
    retry = whole(retry) or 0, tries = whole(tries) or 0, told = whole(told) or 0,
  }
end
-- Shared: reads a total of the bucket.


-- The total, or 0 when it is missing or not a number.
local function total_of(stats, name)
  return whole(redis.call('HGET', stats, name)) or 0
end


local SHORTEST_OUTAGE_MS = 10 * 1000 -- a shorter one may be a row of bad events
local MOST_ACQUITTED = 500 -- characters

-- Counts the success, and forgets the failures in a row. Returns how long the outage was that ends
-- with it (ms), or -1 when no worker has logged one. After a long outage, this success proves nothing
-- about what first failed in it. These batches have the number of the success before the outage, so
-- this number is added to `acquitted`.
local function note_success(stats)
  local outage, successes = outage_at(stats), total_of(stats, 'successes')
  redis.call('HDEL', stats, 'outage')
  bump(stats, 'successes', 1)
  if not outage.since then return -1 end
  local duration = math.max(0, now_ms() - outage.since)
  if duration >= SHORTEST_OUTAGE_MS then
    local acquitted = redis.call('HGET', stats, 'acquitted') or ' '
    acquitted = acquitted .. string.format('%.0f ', successes)
    redis.call('HSET', stats, 'acquitted', string.sub(acquitted, -MOST_ACQUITTED))
  end
  return outage.told > 0 and duration or -1
end


local batches, stats, attempts = KEYS[1], KEYS[2], KEYS[3]
local worker, batch, attempt = ARGV[1], ARGV[2], tonumber(ARGV[3])
local count, bytes = tonumber(ARGV[4]), tonumber(ARGV[5])

local refusal = missing_permission(batches)
if refusal then return refusal end

local id = held_id(batches, attempts, worker, batch, attempt)
if not id then return {} end
local held = look_sealed(batches, stats)

-- XACK needs no memory, so a full Redis lets the script run to its end.
if remove(batches, attempts, id) == 0 then return {} end
held.claimed, held.bytes = held.claimed - count, held.bytes - bytes
remember_sealed(batches, stats, held)
bump(stats, 'processed', count)
return { note_success(stats) }
