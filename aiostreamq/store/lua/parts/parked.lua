-- parked.lua: a part of every script that parks jobs, or takes those that are parked: each is an
-- entry of parked:<task>, and `parked` has the names of these tasks.

-- Whether any job is parked. Raises if `parked` is not a set: to be asked before the first write.
local function are_any_parked(prefix)
  return redis.call('SCARD', prefix .. 'parked') > 0
end

-- Forgets a task if no job is parked for it any more.
local function forget_if_empty(prefix, task)
  local parked = prefix .. 'parked:' .. task
  if redis.call('XLEN', parked) == 0 then
    redis.call('DEL', parked)
    redis.call('SREM', prefix .. 'parked', task)
  end
end
