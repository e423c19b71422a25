-- register_strays.lua: register consumers that have deliveries but are not among the workers.
--
-- KEYS[1]    workers: name -> its beat: "<counter> <lease_ms> <lanes>", or "dead <lanes>"
-- KEYS[2..]  streams
-- ARGV[1]    group
-- ARGV[2]    lease_ms that they get
--
-- Returns how many there were. Such a consumer was taken for dead and read again. It is registered
-- with a counter that never rises, so that it is found dead later. Cost O(consumers).

local workers, group, lease_ms = KEYS[1], ARGV[1], ARGV[2]
local registered = 0

for at = 2, #KEYS do
  local summary = redis.pcall('XPENDING', KEYS[at], group)
  if not summary.err and type(summary[4]) == 'table' then
    for _, pair in ipairs(summary[4]) do
      registered = registered + redis.call('HSETNX', workers, pair[1], '0 ' .. lease_ms)
    end
  end
end
return registered
