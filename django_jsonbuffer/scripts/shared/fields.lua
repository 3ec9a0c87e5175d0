-- Shared: reads a field of an entry of a stream.

-- The value of a name in a list of names and values, the form of stream entries and of XINFO; or nil.
local function field(list, name)
  for i = 1, #list, 2 do
    if list[i] == name then return list[i + 1] end
  end
  return nil
end
