-- backlog.lua: held jobs. Each waits in a backlog until all its limits have room.
--
-- A backlog is named '<lane> <task> <token> <token>...', for tokens see part `permits`.
-- `backlog:<name>` has the ids of its jobs by their place in line, `ready` the names of backlogs
-- whose first job may be admitted, by virtual time. A backlog that has jobs is in `ready` or in one
-- `blocked:<token>`.
-- The hash of a held job has all that its entry will: p, n, and maybe a, h and d; s is 'held'. Its
-- field b is '<place> <name>', and stays, so that a job which comes back takes its place again. Field
-- o has what it costs, a number for each token; none is 1 for each.
--
-- uses: order permits

-- Places in line are ms since 1970 times this, as an entry has its place in a millisecond. Lua counts
-- them exactly for two centuries.
local PLACES_A_MS = 1024

local held_counts = {} -- by lane, how many held jobs there are more
local backlog_sizes = {} -- by name of backlog, how many jobs it has
local are_placed = {} -- backlogs of which it is known that they wait where workers look

-- Return the place in line that an entry has.
local function place_of_entry(entry)
  local ms, number = string.match(entry, '^(%d+)-(%d+)$')
  return tonumber(ms) * PLACES_A_MS + math.min(tonumber(number), PLACES_A_MS - 1)
end

-- Return the place in line of a job that has one, and the name of its backlog.
local function place_of(b)
  local place, name = string.match(type(b) == 'string' and b or '', '^(%d+) (.+)$')
  return tonumber(place), name
end

local function lane_of_backlog(name)
  return string.match(name, '^%S+')
end

-- Note how many held jobs more a lane has.
local function count_held(lane, more)
  held_counts[lane] = (held_counts[lane] or 0) + more
end

-- Save what was noted. The last step of a script.
local function save_held_counts(prefix)
  for lane, more in pairs(held_counts) do
    local count = more ~= 0 and redis.pcall('HINCRBY', prefix .. 'held', lane, more)
    if type(count) == 'number' and count <= 0 then -- less if another program has deleted the hash
      redis.pcall('HDEL', prefix .. 'held', lane)
    end
  end
end

-- Return the virtual time at which a backlog begins that had no jobs.
local function floor_of(prefix)
  local floor = redis.pcall('GET', prefix .. 'floor')
  return type(floor) == 'string' and floor or '0'
end

-- Return the size of a sorted set; or nil, and the error with its name, if it is something else.
local function size_at(key)
  local size = redis.pcall('ZCARD', key)
  if type(size) ~= 'number' then
    return nil, tostring(size.err) .. ': key ' .. key
  end
  return size
end

-- Return how many jobs a backlog has; or nil and the error if another program has overwritten it, or
-- the order of its jobs. Asked before a job leaves its worker: later the error would lose it.
local function size_of(prefix, name)
  if not backlog_sizes[name] then
    local size, refusal = size_at(prefix .. 'backlog:' .. name)
    local order = order_of(name)
    if order and not refusal then
      refusal = select(2, size_at(prefix .. 'order:' .. order))
    end
    if refusal then
      return nil, refusal
    end
    backlog_sizes[name] = size
  end
  return backlog_sizes[name]
end

-- Have workers look at a backlog that has jobs and that none would look at, as another program has
-- deleted a key: `ready`, `due`, or that of the limit for which it waits. Return whether it was so.
local function find_again(prefix, name)
  are_placed[name] = true
  if redis.call('ZSCORE', prefix .. 'ready', name) then
    return false
  end
  local due = prefix .. 'due'
  for token in string.gmatch(name, '[cor]=%S+') do
    if type(redis.pcall('ZSCORE', prefix .. 'blocked:' .. token, name)) == 'string' then
      local is_lost = not redis.pcall('ZSCORE', due, token)
      if is_lost then
        redis.pcall('ZADD', due, '0', token)
        ring(prefix)
      end
      return is_lost
    end
  end
  redis.call('ZADD', prefix .. 'ready', floor_of(prefix), name)
  ring(prefix)
  return true
end

-- Have a job wait in a backlog whose size was asked. fields: of its entry, by name; costs: '' for 1 each.
local function hold(prefix, job, name, place, fields, costs)
  local id, order = fields.id, order_of(name)
  if order then
    place = join_order(prefix, order, place, id)
  end
  redis.call('HDEL', job, 'e', 'q', 'o')
  redis.call('HSET', job, 'p', fields.job, 'n', fields.n, 's', 'held',
    'b', string.format('%.0f ', place) .. name)
  for _, field in ipairs({ 'a', 'h', 'd' }) do
    if fields[field] then
      redis.call('HSET', job, field, fields[field])
    end
  end
  if costs ~= '' then
    redis.call('HSET', job, 'o', costs)
  end
  local added = redis.call('ZADD', prefix .. 'backlog:' .. name, string.format('%.0f', place), id)
  backlog_sizes[name] = backlog_sizes[name] + added
  count_held(lane_of_backlog(name), added)
  if backlog_sizes[name] == 1 then
    redis.call('ZADD', prefix .. 'ready', 'NX', floor_of(prefix), name)
    ring(prefix)
    are_placed[name] = true
  elseif not are_placed[name] then
    find_again(prefix, name)
  end
end

-- Take a backlog that has become empty out of those that wait. Those behind it use the room that it
-- was woken for.
local function forget_backlog(prefix, name)
  local was_ready = redis.pcall('ZREM', prefix .. 'ready', name) == 1
  for token in string.gmatch(name, '[cor]=%S+') do
    local blocked = prefix .. 'blocked:' .. token
    if redis.pcall('ZREM', blocked, name) == 1 then
      if redis.call('EXISTS', blocked) == 0 then
        redis.pcall('ZREM', prefix .. 'due', token)
      end
    elseif was_ready and wake_next(prefix, token) then
      ring(prefix)
    end
  end
end

-- Have workers look at a backlog whose first job has left it while it waited for a rate: the next job
-- may cost less.
local function look_at_next(prefix, name)
  for token in string.gmatch(name, 'r=%S+') do
    local blocked = prefix .. 'blocked:' .. token
    local time = redis.pcall('ZSCORE', blocked, name)
    if type(time) == 'string' and type(redis.pcall('ZADD', prefix .. 'ready', time, name)) == 'number' then
      redis.call('ZREM', blocked, name)
      if redis.call('EXISTS', blocked) == 0 then
        redis.pcall('ZREM', prefix .. 'due', token)
      end
      ring(prefix)
    end
  end
end

-- Take a job out of its backlog, as it has ended. b: field b of its hash.
local function leave_backlog(prefix, b, id)
  local _, name = place_of(b)
  local key = prefix .. 'backlog:' .. (name or '')
  local first = name and redis.pcall('ZRANGE', key, 0, 0)[1]
  if not name or redis.pcall('ZREM', key, id) ~= 1 then
    return
  end
  count_held(lane_of_backlog(name), -1)
  if redis.call('EXISTS', key) == 0 then
    forget_backlog(prefix, name)
  elseif first == id then
    look_at_next(prefix, name)
  end
end
