-- Report the status of the bucket.
--
-- Atomic so that its figures are of one moment and agree with each other.
--
-- KEYS[1]  open      STRING, the open batch
-- KEYS[2]  batches   STREAM of sealed batches
-- KEYS[3]  dead      STREAM of dead letters
-- KEYS[4]  stats     HASH of the bucket's counters
-- KEYS[5]  appends   HASH of the open batch as it was left, and of the producers
-- KEYS[6]  attempts  HASH of what is remembered of each batch
-- KEYS[7]  workers   HASH of the workers, and when (ms) each wrote its last heartbeat
-- KEYS[8]  history   LIST of samples of the bucket's counters
-- KEYS[9]  paused    STRING, since when (ms) the bucket is paused
-- ARGV[1]  counted   events that the client has counted in the open batch, or -1
-- ARGV[2]  length    bytes of these events as an array, or 0
--
-- Returns 28 values, or {0} when the client must count the events of the open batch first, because
-- another client has changed it and it is long:
--    1  events in the open batch
--    2  events that are sealed and not claimed
--    3  events that are claimed
--    4  batches: the open batch, the sealed batches, and the claimed batches
--    5  batches that are claimed
--    6  bytes in all these batches
--    7  dead letters
--    8  ms that the oldest pending event has waited, or -1 when none is pending
--    9  workers with a heartbeat in the last 30 seconds
--   10  ms that the bucket has been paused, or -1 when it is not paused
--   11  batches that have failed and not succeeded since, among the oldest 100 that workers hold or
--       have released
--   12  number of the last attempt of the oldest failing batch, 1 for a piece of a batch that failed, or
--       0 when none fails
--   13  ms since the newest sample, or -1 when there is none
--   14  ms since the second newest sample, or since the newest if it is the only one, or -1
--   15  the total of appended events at the time of 14, or -1
--   16  the total of processed events at the time of 14, or -1
--   17  total of appended events
--   18  total of processed events
--   19  total of buried events
--   20  total of replayed events
--   21  total of lost events
--   22  total of events dropped as the newest
--   23  total of events dropped as the oldest
--   24  total of purged events
--   25  total of discarded dead letters
--   26  total of expired dead letters
--   27  error that the oldest failing batch last failed with, or ''
--   28  ms since the outage began, or -1 when there is none
-- Writes nothing.

-- @needs clock status_of

local open, batches, dead, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local appends, attempts, workers = KEYS[5], KEYS[6], KEYS[7]
local history, paused = KEYS[8], KEYS[9]
local counted, length = tonumber(ARGV[1]), tonumber(ARGV[2])

return status_of(now_ms(), open, batches, dead, stats, appends, attempts, workers, history, paused,
  counted, length)
