-- Shared: how the field `open` of the appends notes the open batch.

-- Its events, its bytes, and its last bytes, so that a change is noticed. Values of up to 64 bytes keep
-- a small hash fast.
local NOTED, NOTED_WITH_TAIL, NOTED_BYTES, TAIL = '<I4I4', '<I4I4c0', 8, 32
