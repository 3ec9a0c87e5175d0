-- Shared: cuts the event of a dead letter.

-- Leaves so many bytes of the event, from its first. 0 for all of them. If it is cut, the names and
-- values end with `event_bytes` and its whole size.
local function cut_event(fields, bytes)
  for i = 1, #fields, 2 do
    if fields[i] == 'event' and #fields[i + 1] > bytes and bytes > 0 then
      table.insert(fields, 'event_bytes')
      table.insert(fields, tostring(#fields[i + 1]))
      fields[i + 1] = string.sub(fields[i + 1], 1, bytes)
    end
  end
end
