-- Shared: the size of a dead letter.

local function letter_size(letter)
  local bytes = 0
  for _, text in ipairs(letter[2]) do bytes = bytes + #text end
  return bytes
end
