-- Shared: how the field `open` of the appends notes the open batch.

-- Its events, its bytes, and its last bytes, so that a change is noticed. A value of more than 64 bytes
-- makes Redis keep the hash as a table, in which a field is found fast, however many producers it has.
local NOTED, NOTED_WITH_TAIL, NOTED_BYTES, TAIL = '<I4I4', '<I4I4c0', 8, 64
