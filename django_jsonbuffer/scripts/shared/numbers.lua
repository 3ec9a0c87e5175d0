-- Shared: numbers that Redis holds as text.

-- The number, or nil when the text is missing or is not a whole number of up to 15 digits.
local function whole(text)
  return text and #text <= 15 and string.find(text, '^%d+$') and tonumber(text) or nil
end
