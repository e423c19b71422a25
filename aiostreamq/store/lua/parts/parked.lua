-- parked.lua: parked jobs. A part of every script that parks jobs or takes parked ones.
--
-- A parked job is an entry of parked:<task>, and `parked` has the names of these tasks.

-- Whether any job is parked. Raises if another program has overwritten `parked`, so ask before the
-- first write.
local function are_any_parked(prefix)
  return redis.call('SCARD', prefix .. 'parked') > 0
end

-- Forget a task if no job is parked for it any more.
local function forget_if_empty(prefix, task)
  local parked = prefix .. 'parked:' .. task
  if redis.call('XLEN', parked) == 0 then
    redis.call('DEL', parked)
    redis.call('SREM', prefix .. 'parked', task)
  end
end
