-- queue_snapshot.lua: count the jobs of a queue by place, and sample their tasks. Read-only.
--
-- KEYS[1]    delayed
-- KEYS[2]    dead
-- KEYS[3]    parked: names of tasks
-- KEYS[4..]  streams
-- ARGV[1]    group
-- ARGV[2]    prefix of the queue's keys
-- ARGV[3]    sample: how many jobs of each kind are read for their tasks
-- ARGV[4]    sample_bytes: stop reading after envelopes of this size in total
--
-- Returns: the time in ms; how many jobs are delayed, when the first is due in ms (-1 for none) and
-- their tasks; how many are dead and their tasks; tasks and numbers of the parked; of the held:
-- lanes and numbers, how many backlogs are ready, of how many of these the jobs are counted, tasks
-- of these jobs, and tasks of jobs that wait for limits; and for each stream how many wait, how many
-- are with workers, the id of the first that waits ('' for none), the tasks of those that wait, and
-- of those that are with workers. Tasks are names and counts in turn, from the sample.
-- Cost O(streams * sample), about 1 microsecond each: some 1 ms for 3 lanes. An empty stream costs
-- as much as one job. Held jobs cost some 1 ms.
--
-- uses: time

local group, prefix = ARGV[1], ARGV[2]
local sample, sample_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])

-- A longer envelope that does not begin with its task is not decoded for the name.
local LONGEST = 4096
-- The number of tasks whose parked jobs are counted.
local MOST_PARKED = 200

local function task_of(envelope)
  local task = string.match(envelope, '^{"task":"([^"\\]*)"')
  if task or string.len(envelope) > LONGEST then
    return task or ''
  end
  local is_json, call = pcall(cjson.decode, envelope)
  return is_json and type(call) == 'table' and type(call.task) == 'string' and call.task or ''
end

local function flat(counts)
  local names = {}
  for name, count in pairs(counts) do
    names[#names + 1] = name
    names[#names + 1] = count
  end
  return names
end

local function envelope_in(fields)
  for at = 1, #fields - 1, 2 do
    if fields[at] == 'job' then
      return fields[at + 1]
    end
  end
  return ''
end

-- How many entries are read in one step. Payloads of a megabyte may follow small ones.
local LONGEST_STEP = 8

-- Return the tasks of entries, and the id of the first one. They are read in steps that double, so
-- that one payload of a megabyte does not become a hundred.
local function tasks_in(command, stream, from, to)
  local counts, seen, size, step, first = {}, 0, 0, 1, ''
  while seen < sample and size < sample_bytes do
    local found = redis.call(command, stream, from, to, 'COUNT', math.min(step, sample - seen))
    first = seen == 0 and found[1] and found[1][1] or first
    for _, entry in ipairs(found) do
      local envelope = envelope_in(entry[2])
      local task = task_of(envelope)
      counts[task] = (counts[task] or 0) + 1
      seen, size = seen + 1, size + string.len(envelope)
    end
    if #found < step then
      break
    end
    from, step = '(' .. found[#found][1], math.min(2 * step, LONGEST_STEP)
  end
  return flat(counts), first
end

local function delayed_tasks()
  local counts, size = {}, 0
  for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, sample - 1)) do
    local envelope = redis.call('HGET', prefix .. 'job:' .. id, 'p') or ''
    local task = task_of(envelope)
    counts[task] = (counts[task] or 0) + 1
    size = size + string.len(envelope)
    if size >= sample_bytes then
      break
    end
  end
  return flat(counts)
end

local function parked_tasks()
  local counts, names = {}, 0
  for _, task in ipairs(redis.call('SMEMBERS', KEYS[3])) do
    if names < MOST_PARKED then
      counts[task], names = redis.call('XLEN', prefix .. 'parked:' .. task), names + 1
    end
  end
  return flat(counts)
end

-- Return how many deliveries of a stream are with workers, and the id of the last delivered entry.
local function group_of(stream)
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  for _, flat in ipairs(groups.err and {} or groups) do
    local info = {}
    for at = 1, #flat - 1, 2 do
      info[flat[at]] = flat[at + 1]
    end
    if info['name'] == group then
      return info['pending'], info['last-delivered-id']
    end
  end
  return 0, '0-0'
end

-- Return what the answer says of a stream. Most of many are empty, and cost one call each.
local function look_at(stream)
  local length = redis.call('XLEN', stream)
  if length == 0 then
    return { 0, 0, '', {}, {} }
  end
  local running, last = group_of(stream)
  local waiting_tasks, oldest = tasks_in('XRANGE', stream, '(' .. last, '+')
  local running_tasks = running > 0 and tasks_in('XRANGE', stream, '-', last) or {}
  return { length - running, running, oldest, waiting_tasks, running_tasks }
end

-- How many backlogs are looked at.
local BACKLOGS = 500

-- Add the number of jobs of a backlog to those of its task.
local function count_backlog(counts, name)
  local task = string.match(name, '^%S+ (%S+)') or ''
  local jobs = redis.pcall('ZCARD', prefix .. 'backlog:' .. name)
  counts[task] = (counts[task] or 0) + (type(jobs) == 'number' and jobs or 0)
end

-- Return members of a sorted set: all, or some by chance.
local function some_of(key, count)
  local found = redis.pcall('ZRANDMEMBER', key, count)
  return found.err and {} or found
end

local function count_held()
  local by_lane = redis.pcall('HGETALL', prefix .. 'held')
  if by_lane.err or #by_lane == 0 then
    return { {}, 0, 0, {}, {} }
  end
  local ready, blocked = {}, {}
  local sampled = some_of(prefix .. 'ready', BACKLOGS)
  for _, name in ipairs(sampled) do
    count_backlog(ready, name)
  end
  local tokens = some_of(prefix .. 'due', BACKLOGS)
  local share = math.ceil(BACKLOGS / math.max(1, #tokens))
  for _, token in ipairs(tokens) do
    for _, name in ipairs(some_of(prefix .. 'blocked:' .. token, share)) do
      count_backlog(blocked, name)
    end
  end
  local backlogs = redis.pcall('ZCARD', prefix .. 'ready')
  backlogs = type(backlogs) == 'number' and backlogs or 0
  return { by_lane, backlogs, #sampled, flat(ready), flat(blocked) }
end

local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local answer = {
  (read_clock()),
  redis.call('ZCARD', KEYS[1]),
  first[2] and math.floor(tonumber(first[2])) or -1,
  delayed_tasks(),
  redis.call('XLEN', KEYS[2]),
  (tasks_in('XREVRANGE', KEYS[2], '+', '-')),
  parked_tasks(),
  count_held(),
}
for at = 4, #KEYS do
  answer[#answer + 1] = look_at(KEYS[at])
end
return answer
