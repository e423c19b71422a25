-- entry.lua: a part of every script that reads an entry of a stream.

-- Returns the fields of an entry by name.
local function fields_by_name(flat)
  local fields = {}
  for at = 1, #flat, 2 do
    fields[flat[at]] = flat[at + 1]
  end
  return fields
end
