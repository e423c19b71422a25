-- schedule.lua: the state and the definition of a schedule. A part of every script that reads or
-- writes one.

-- Return the fields of a schedule's state by name; false for each that it does not have. It has
-- none if another program has overwritten it.
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

-- Raise if another program has overwritten the state of a schedule: later this would leave half a
-- schedule.
local function check_schedule(key)
  redis.call('HLEN', key)
end

-- Return how many runs a definition allows: any number if it has no limit or cannot be read.
local function max_runs_of(definition)
  local is_json, rules = pcall(cjson.decode, definition)
  local max_runs = is_json and type(rules) == 'table' and rules.max_runs
  return type(max_runs) == 'number' and max_runs or math.huge
end

-- Return a rev that no definition has had, not even one that was deleted. time: the second value
-- of read_clock.
local function new_rev(time)
  return time[1] .. '.' .. time[2]
end

-- Store a definition and plan its first tick, in place of the tick that the old one had planned. No
-- tick is planned if the schedule is paused, or has had all its runs.
local function define(schedules, due_names, name, state, definition, rev, due)
  local known = load_schedule(state)
  local may_run = (tonumber(known.runs) or 0) < max_runs_of(definition)
  redis.call('HSET', schedules, name, definition)
  redis.call('HSET', state, 'rev', rev)
  redis.call('HDEL', state, 'at', 'held')
  redis.call('ZREM', due_names, name)
  if due ~= '' and not known.is_paused and may_run then
    redis.call('HSET', state, 'at', due)
    redis.call('ZADD', due_names, due, name)
  end
end
