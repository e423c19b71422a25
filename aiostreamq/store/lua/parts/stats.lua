-- stats.lua: a part of every script that counts how jobs end, for those who look into the queue.
--
-- `stats:<minute>` has how many jobs ended how, in fields "<task>|<state>|<bucket>"; `recent` has
-- an entry a call that says which jobs those were. What a script ends by itself has no bucket
-- but "-": it never ran, or nobody can tell how long it did.

-- About how many entries `recent` has: so this many jobs are known where they end alone, and
-- up to 250 times as many under load. How long it is kept when nothing ends. How long the
-- counters of a minute are kept: STATS_MINUTES of tally.py.
local RECENT_LENGTH, RECENT_MS, STATS_MS = 2000, 24 * 3600 * 1000, 180 * 60000

-- As RECENT_IDS of tally.py, and as many kinds as two hexadecimal digits can tell apart.
local MOST_CHARACTERS, MOST_KINDS = 8192, 256

-- A longer envelope that does not begin with its task is not read for its name.
local LONGEST_TO_READ = 4096

-- kinds and waits: fields of the counters and numbers; codes: for each job the place (from 0) of
-- its kind, two hexadecimal digits; ids: of the jobs, maybe not of all.
local function count_ends(recent, prefix, kinds, codes, ids, waits)
  local is_new = false
  local at = redis.call('XADD', recent, 'MAXLEN', '~', RECENT_LENGTH, '*',
    'kinds', kinds, 'codes', codes, 'ids', ids)
  local minute = math.floor(tonumber(string.match(at, '^%d+')) / 60000)
  local stats = prefix .. 'stats:' .. string.format('%d', minute)
  for field, count in string.gmatch(kinds .. ' ' .. waits, '(%S+) (%d+)') do
    is_new = redis.call('HINCRBY', stats, field, count) == tonumber(count) or is_new
  end
  if is_new then -- about once a minute, which is often enough
    redis.call('PEXPIRE', stats, STATS_MS)
    redis.call('PEXPIRE', recent, RECENT_MS)
  end
end

-- The name of a task as it can be part of a field, or '' where there is none.
local function task_in(envelope)
  local task = string.match(envelope or '', '^{"task":"([%w_.:-]+)"')
  if not task and envelope and string.len(envelope) <= LONGEST_TO_READ then
    local is_json, told = pcall(cjson.decode, envelope)
    local name = is_json and type(told) == 'table' and told.task
    task = type(name) == 'string' and string.match(name, '^[%w_.:-]+$')
  end
  return task or ''
end

local ends -- made with the first, as most calls note none

-- Notes that a job has ended without a run that could be asked.
local function note_end(id, task, state)
  ends = ends or { kinds = {}, count_of = {}, place_of = {}, codes = {}, ids = {}, characters = 0 }
  local kind = task .. '|' .. state .. '|-'
  if not ends.place_of[kind] then
    ends.place_of[kind], ends.count_of[kind] = #ends.kinds, 0
    ends.kinds[#ends.kinds + 1] = kind
  end
  ends.count_of[kind] = ends.count_of[kind] + 1
  local place, characters = ends.place_of[kind], ends.characters + string.len(id) + 1
  if place < MOST_KINDS and characters <= MOST_CHARACTERS then
    ends.codes[#ends.codes + 1] = string.format('%02x', place)
    ends.ids[#ends.ids + 1] = id
    ends.characters = characters
  end
end

-- Counts what was noted. Last in its script, and whatever a stranger has put under these
-- keys: the jobs have ended, and nobody shall be told that this failed.
local function count_noted_ends(prefix)
  if not ends then
    return
  end
  local told = {}
  for place, kind in ipairs(ends.kinds) do
    told[place] = kind .. ' ' .. ends.count_of[kind]
  end
  pcall(count_ends, prefix .. 'recent', prefix, table.concat(told, ' '),
    table.concat(ends.codes), table.concat(ends.ids, ' '), '')
end
