-- entry.lua: the fields of a stream entry. A part of every script that reads the entry of a job.

-- Places of the values in an entry. More fields can follow: a, d and h.
local ID, N, ENVELOPE, NEXT_FIELD = 2, 4, 6, 7

-- Return the values of an entry by the names of its fields.
local function fields_by_name(values)
  local fields = {}
  for at = 1, #values, 2 do
    fields[values[at]] = values[at + 1]
  end
  return fields
end
