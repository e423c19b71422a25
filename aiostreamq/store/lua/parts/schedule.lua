-- schedule.lua: a part of every script that gives a schedule its definition.

-- How many ticks a definition allows; any number where it does not say, or cannot be read.
local function max_runs_of(definition)
  local is_json, told = pcall(cjson.decode, definition)
  local max_runs = is_json and type(told) == 'table' and told['max_runs']
  return type(max_runs) == 'number' and max_runs or math.huge
end

-- Keeps the definition, and plans its first tick; what was planned by the old one is void.
-- No tick is planned of a schedule that is paused, or that has had as many as it may.
local function define(schedules, due_names, name, state, definition, rev, due)
  local known = redis.call('HMGET', state, 'paused', 'runs')
  redis.call('HSET', schedules, name, definition)
  redis.call('HSET', state, 'rev', rev)
  redis.call('HDEL', state, 'at', 'held')
  redis.call('ZREM', due_names, name)
  if due ~= '' and not known[1] and (tonumber(known[2]) or 0) < max_runs_of(definition) then
    redis.call('HSET', state, 'at', due)
    redis.call('ZADD', due_names, due, name)
  end
end
