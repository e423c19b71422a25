-- time.lua: a part of every script that asks for the time. No other line does.

-- Returns the time of Redis in ms since 1970; and as Redis says it, in seconds and microseconds.
local function read_clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), time
end
