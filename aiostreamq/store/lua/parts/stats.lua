-- stats.lua: counts how jobs end, for reports about the queue.
--
-- `stats:<minute>` has how many jobs ended in which way, in fields "<task>|<state>|<bucket>".
-- `recent` has an entry for each call, with the ids of the jobs. A job that a script ends by itself
-- is in the bucket "-", as it did not run, or for an unknown time.
--
-- `totals` has the same counts since the queue began, with every fourth bound only, in fields of the
-- same form. They never fall and do not expire, so the number of fields is bounded.

-- About how many entries `recent` has: this many jobs if they end one by one, and up to 250 times
-- more under load. How long `recent` is kept if no job ends. How long the counters of a minute are
-- kept: STATS_MINUTES of stats.py.
local RECENT_LENGTH, RECENT_MS, STATS_MS = 2000, 24 * 3600 * 1000, 180 * 60000

-- As RECENT_IDS of stats.py; and the number of kinds that fit into two hexadecimal digits.
local MOST_CHARACTERS, MOST_KINDS = 8192, 256

-- A longer envelope that does not begin with its task is not decoded for the name.
local LONGEST_TO_READ = 4096

-- The number of fields of `totals`, and the task that counts for all others once that is reached:
-- no task has such a name. A task has about 20 fields.
local MOST_TOTALS, OTHER = 20000, '(other)'

-- Buckets of the minutes that make one of the totals: TOTAL_BOUNDS of totals.py.
local BUCKETS = 4

local function add_to_totals(totals, field, count)
  local kind, bucket = string.match(field, '^(.+|)(%d+)$')
  if kind then
    field = kind .. string.format('%d', math.ceil(tonumber(bucket) / BUCKETS))
  end
  local is_new = redis.call('HINCRBY', totals, field, count) == tonumber(count)
  if is_new and redis.call('HLEN', totals) > MOST_TOTALS then
    redis.call('HDEL', totals, field)
    redis.call('HINCRBY', totals, OTHER .. string.match(field, '|.*$'), count)
  end
end

-- Count jobs that have ended. kinds and waits: fields of the counters, and numbers; codes: for each
-- job the place (from 0) of its kind, two hexadecimal digits; ids of the jobs, maybe not of all.
local function count_ends(recent, prefix, kinds, codes, ids, waits)
  local is_new = false
  local at = redis.call('XADD', recent, 'MAXLEN', '~', RECENT_LENGTH, '*',
    'kinds', kinds, 'codes', codes, 'ids', ids)
  local minute = math.floor(tonumber(string.match(at, '^%d+')) / 60000)
  local stats = prefix .. 'stats:' .. string.format('%d', minute)
  for field, count in string.gmatch(kinds .. ' ' .. waits, '(%S+) (%d+)') do
    is_new = redis.call('HINCRBY', stats, field, count) == tonumber(count) or is_new
    add_to_totals(prefix .. 'totals', field, count)
  end
  if is_new then -- about once a minute, which is often enough
    redis.call('PEXPIRE', stats, STATS_MS)
    redis.call('PEXPIRE', recent, RECENT_MS)
  end
end

-- Return the task of an envelope if its name can be part of a field, else ''.
local function task_in(envelope)
  local task = string.match(envelope or '', '^{"task":"([%w_.:-]+)"')
  if not task and envelope and string.len(envelope) <= LONGEST_TO_READ then
    local is_json, call = pcall(cjson.decode, envelope)
    local name = is_json and type(call) == 'table' and call.task
    task = type(name) == 'string' and string.match(name, '^[%w_.:-]+$')
  end
  return task or ''
end

local ends -- created with the first, as most calls have none

-- Return the kind of an end, new or noted before.
local function kind_of(task, state)
  local name = task .. '|' .. state .. '|-'
  local kind = ends.by_name[name]
  if not kind then
    local place = #ends.kinds
    kind = { name = name, count = 0, code = place < MOST_KINDS and string.format('%02x', place) }
    ends.by_name[name], ends.kinds[place + 1] = kind, kind
  end
  ends.task, ends.state, ends.kind = task, state, kind
  return kind
end

-- Note that a job has ended without a run whose time is known.
local function note_end(id, task, state)
  ends = ends or { kinds = {}, by_name = {}, codes = {}, ids = {}, characters = 0 }
  -- Jobs that end together are often alike.
  local kind = task == ends.task and state == ends.state and ends.kind or kind_of(task, state)
  kind.count = kind.count + 1
  local characters = ends.characters + string.len(id) + 1
  if kind.code and characters <= MOST_CHARACTERS then
    local next = #ends.ids + 1
    ends.codes[next], ends.ids[next], ends.characters = kind.code, id, characters
  end
end

-- Count the ends that were noted. The last step of a script. Its errors are ignored: the jobs have
-- ended, and that must not look like a failure.
local function count_noted_ends(prefix)
  if not ends then
    return
  end
  local kinds = {}
  for place, kind in ipairs(ends.kinds) do
    kinds[place] = kind.name .. ' ' .. kind.count
  end
  pcall(count_ends, prefix .. 'recent', prefix, table.concat(kinds, ' '),
    table.concat(ends.codes), table.concat(ends.ids, ' '), '')
end
