-- schedule.lua: a part of every script that reads the state of a schedule or gives it a definition.

-- Returns the state of a schedule by names; false for each field that it does not have. If another
-- program has put something else in its place, it has none.
local function load_schedule(key)
  local known = redis.pcall('HMGET', key,
    'rev', 'at', 'held', 'last', 'runs', 'skipped', 'paused', 'code')
  return {
    rev = known[1],
    at = known[2], -- the tick that is planned
    held = known[3], -- a tick that waits for the end of the last job
    last = known[4], -- id of the last tick's job
    runs = known[5],
    skipped = known[6],
    is_paused = known[7] and true or false,
    is_code = known[8] and true or false, -- code declares it
  }
end

-- Raises if another program has put something else in the place of a schedule's state: to be asked
-- before the first write, as later would leave half a schedule.
local function check_schedule(key)
  redis.call('HLEN', key)
end

-- How many ticks a definition allows; any number where it does not say, or cannot be read.
local function max_runs_of(definition)
  local is_json, told = pcall(cjson.decode, definition)
  local max_runs = is_json and type(told) == 'table' and told['max_runs']
  return type(max_runs) == 'number' and max_runs or math.huge
end

-- Returns a rev that no definition has had, not even one that was deleted. time: as Redis says it.
local function new_rev(time)
  return time[1] .. '.' .. time[2]
end

-- Keeps the definition, and plans its first tick; what was planned by the old one is void.
-- No tick is planned of a schedule that is paused, or that has had as many as it may.
local function define(schedules, due_names, name, state, definition, rev, due)
  local known = load_schedule(state)
  redis.call('HSET', schedules, name, definition)
  redis.call('HSET', state, 'rev', rev)
  redis.call('HDEL', state, 'at', 'held')
  redis.call('ZREM', due_names, name)
  if due ~= '' and not known.is_paused and (tonumber(known.runs) or 0) < max_runs_of(definition) then
    redis.call('HSET', state, 'at', due)
    redis.call('ZADD', due_names, due, name)
  end
end
