-- setup.lua: make sure that every stream of a queue and its consumer group exist.
--
-- KEYS[1..]  streams
-- ARGV[1]    group
--
-- Returns how many groups were missing. Cost O(streams).

local group = ARGV[1]
local made = 0

-- First a write that needs no memory and does nothing: a script that has written is not
-- stopped when there is none, and workers must be able to start on a full Redis.
redis.pcall('XACK', KEYS[1], group, '0-0')

for _, stream in ipairs(KEYS) do
  -- From 0, never $: what was added before the group existed must be read too.
  local answer = redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
  if type(answer) == 'table' and answer.err then
    if not string.find(tostring(answer.err), 'BUSYGROUP', 1, true) then
      return answer
    end
  else
    made = made + 1
  end
end
return made
