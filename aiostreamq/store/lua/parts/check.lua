-- check.lua: a part of every script that writes several keys. It checks them before the first write:
-- if another program has put something else in the place of a key, these functions raise. Raised
-- later, the error would leave half a step done, or lose a job that has left its worker.

local function check_stream(key)
  redis.call('XLEN', key)
end

local function check_sorted_set(key)
  redis.call('ZCARD', key)
end
