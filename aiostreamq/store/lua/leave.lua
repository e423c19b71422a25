-- leave.lua: forget a worker that has nothing left.
--
-- KEYS[1..]  streams
-- ARGV[1]    group
-- ARGV[2]    consumer
--
-- Returns how many groups have forgotten it. One that still has deliveries is
-- kept: XGROUP DELCONSUMER would throw them away with it. Cost O(streams).

local group, consumer = ARGV[1], ARGV[2]
local left = 0

for _, stream in ipairs(KEYS) do
  local pending = redis.pcall('XPENDING', stream, group, '-', '+', 1, consumer)
  if not pending.err and not pending[1] then
    redis.pcall('XGROUP', 'DELCONSUMER', stream, group, consumer)
    left = left + 1
  end
end
return left
