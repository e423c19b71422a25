-- due_schedules.lua: list the schedules that are due, and when the next one will be.
--
-- KEYS[1]    schedules: definition, JSON, by name
-- KEYS[2]    schedule_due: name of each schedule that was made at run time, by ms since 1970
-- KEYS[3]    schedule_due_code: the same for those that code declares
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2]    skip: how many due schedules to leave out, because an earlier call has returned them
-- ARGV[3]    limit: how many to look at after those
-- ARGV[4]    look_ms: how soon to look again for the end of a job that a tick waits for
-- ARGV[5..]  names of the schedules that the caller's code declares; of the others, only those
--            that were made at run time are looked at
--
-- Returns {wait_ms, now, left, looked, then nine for each that is due:
--   name, rev, at, held, last, runs, skipped, 1 if the job of the last tick has not ended (else 0),
--   definition}
-- at is the tick, held a tick that waits for the end of the last job, last the id of that job. Each
-- is empty if there is none, and is returned as it is stored: the caller validates it. Ticks that
-- wait for the end of a job are left out, and so are paused schedules. looked is how many were looked
-- at: the limit, or fewer if these have about a megabyte of definitions, or are all. left is how many
-- are due after those. wait_ms is the time until one of the others is due, or -1 if there is none.
-- Cost O(limit and names), 5 microseconds each.
--
-- uses: job_state schedule time

local schedules, due_names, due_code = KEYS[1], KEYS[2], KEYS[3]
local prefix = ARGV[1]
local skip, limit, look_ms = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now = read_clock()
local wait = math.huge
local listed = {}

-- Bytes of definitions in one answer. Redis copies each, and other clients wait for that.
local MOST_BYTES = 1000000

local looked, listed_bytes = 0, 0

-- Whether the answer takes one more schedule.
local function has_room()
  return looked < limit and listed_bytes < MOST_BYTES
end

local function list(name)
  looked = looked + 1
  local state = load_schedule(prefix .. 'schedule:' .. name)
  if state.is_paused then
    return
  end
  local at, held, last = state.at or '', state.held or '', state.last or ''
  local lives = last ~= '' and is_open(prefix, last)
  local following = at == '' and math.huge or tonumber(at) or now
  if lives and held ~= '' and following > now then
    wait = math.min(wait, look_ms, following - now)
    return
  end
  local definition = redis.call('HGET', schedules, name) or ''
  listed_bytes = listed_bytes + string.len(definition)
  local row = {
    name, state.rev or '', at, held, last, state.runs or '', state.skipped or '', lives and 1 or 0,
    definition,
  }
  for _, value in ipairs(row) do
    listed[#listed + 1] = value
  end
end

local page = redis.call('ZRANGEBYSCORE', due_names, '-inf', now, 'LIMIT', skip, limit)
for _, name in ipairs(page) do
  if has_room() then
    list(name)
  end
end
-- Schedules that code declares come after all others.
local place = redis.call('ZCOUNT', due_names, '-inf', now)
for at = 5, #ARGV do
  local due = redis.call('ZSCORE', due_code, ARGV[at])
  if due and tonumber(due) <= now then
    place = place + 1
    if place > skip and has_room() then
      list(ARGV[at])
    end
  elseif due then
    wait = math.min(wait, tonumber(due) - now)
  end
end

local first = redis.call('ZRANGEBYSCORE', due_names, '(' .. now, '+inf', 'WITHSCORES',
  'LIMIT', 0, 1)
if first[2] then
  wait = math.min(wait, tonumber(first[2]) - now)
end
local left = math.max(0, place - skip - looked)
local answer = { wait == math.huge and -1 or math.ceil(wait), now, left, looked }
for _, value in ipairs(listed) do
  answer[#answer + 1] = value
end
return answer
