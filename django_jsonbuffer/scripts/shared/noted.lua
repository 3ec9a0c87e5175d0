-- Shared: how the fields `open` and `traces` of the appends note the open batch.

-- Its events, its bytes, and its last bytes, so that a change is noticed. A value of more than 64 bytes
-- makes Redis keep the hash as a table, in which a field is found fast, however many producers it has.
local NOTED, NOTED_WITH_TAIL, NOTED_BYTES, TAIL = '<I4I4', '<I4I4c0', 8, 64

-- Which appends its events come from, if these were traced. The field begins with the origin of the
-- open batch, so that it is not taken for that of another one. Then comes, for each append, the number
-- of events before it, and what the client has sent, as often as needed:
-- `<trace id>-<span id>:<first place>:<number of events>`. All have spaces between. What does not fit is
-- left out: a span of OpenTelemetry has 128 links by default, and so many appends of single events fit.
local MOST_TRACES_BYTES = 8192
