-- group.lua: what the consumer group of a stream says about an entry. Redis would copy the entry to
-- read it, and a payload may be a megabyte.

-- Whether an entry id is not later than another.
local function is_before(entry, other)
  local ms, number = string.match(entry, '(%d+)-(%d+)')
  local other_ms, other_number = string.match(other, '(%d+)-(%d+)')
  ms, other_ms = tonumber(ms), tonumber(other_ms)
  return ms < other_ms or ms == other_ms and tonumber(number) <= tonumber(other_number)
end

-- Return the last entry that was delivered; '0-0' if none was, or there is no such group.
local function last_delivered(stream, group)
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  for _, about in ipairs(groups.err and {} or groups) do
    local facts = {}
    for at = 1, #about, 2 do
      facts[about[at]] = about[at + 1]
    end
    if facts['name'] == group then
      return facts['last-delivered-id']
    end
  end
  return '0-0'
end
