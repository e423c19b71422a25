-- cancel_lane.lua: cancel the jobs of a lane that wait or run, a part of the lane at a time.
--
-- KEYS[1..3] and ARGV[1..4] as cancel.lua
-- KEYS[4]    stream
-- ARGV[5]    first: the entry to begin with, as XRANGE takes it
-- ARGV[6]    last: the entry to end with, as XRANGE takes it
-- ARGV[7]    before_ms: cancel only jobs that were put there earlier; empty for any
-- ARGV[8]    task: cancel only jobs of this task; empty for any
-- ARGV[9]    count: how many entries are looked at, at most
--
-- Returns how many were queued and how many were running of those that were cancelled, and the entry
-- after which the next call begins; empty at the end. A call that is repeated after a lost reply
-- finds what it has cancelled, and does not count it again.
-- Cost O(count), about 10 microseconds each; callers ask for at most 150.
--
-- uses: cancelling entry
-- flags: allow-oom

local prefix, states, is_wanted = ARGV[2], cancelling.states, cancelling.is_wanted
local stream, before_ms, task = KEYS[4], tonumber(ARGV[7]), ARGV[8]
local left, bytes = tonumber(ARGV[9]), 0
local lane = string.sub(stream, string.len(prefix .. 'stream:') + 1)
local counts, ids = { queued = 0, running = 0 }, {}
local deliveries -- of the entries that were read last

-- How many entries are read in one step, and after how many bytes of them a call ends. Payloads of a
-- megabyte may follow small ones, and Redis copies a step as a whole.
local LONGEST_STEP, MOST_BYTES = 8, 262144

-- Whether an envelope is one of the task that is asked for.
local function is_of_task(envelope)
  if task == '' then
    return true
  end
  local name = string.match(envelope, '^{"task":"([^"\\]*)"')
  if not name then
    local is_json, call = pcall(cjson.decode, envelope)
    name = is_json and type(call) == 'table' and call.task
  end
  return name == task
end

local function is_meant(entry, fields)
  return fields[1] == 'id' and fields[ENVELOPE - 1] == 'job' and is_of_task(fields[ENVELOPE])
    and not (before_ms and tonumber(string.match(entry, '^%d+')) >= before_ms)
end

-- Note the job of an entry, unless the entry is that of another program, or one that the job has left.
local function note(entry, fields)
  local place = #ids + 1
  cancelling.load(place, fields[ID])
  if states[place] == 'in_lane' and cancelling.entries[place] == entry
    and cancelling.lanes[place] == lane then
    ids[place] = fields[ID]
    cancelling.note_entry(place, cancelling.state_in(lane, entry, deliveries), fields)
  else
    states[place], cancelling.others[place] = nil, nil
  end
end

-- Note the jobs of the next entries. Return the last entry, nil if it is that of the lane.
local function note_next(first, step)
  local found = redis.call('XRANGE', stream, first, ARGV[6], 'COUNT', step)
  if #found > 0 then
    deliveries = cancelling.deliveries_between(stream, found[1][1], found[#found][1], #found + 1)
  end
  for _, entry in ipairs(found) do
    local fields = entry[2]
    bytes = bytes + string.len(fields[ENVELOPE] or '')
    if is_meant(entry[1], fields) then
      note(entry[1], fields)
    end
  end
  left = left - #found
  return #found == step and found[step][1] or nil
end

local first, step, last = ARGV[5], 1, nil
repeat
  -- Steps double, so that one payload of a megabyte does not become many.
  step = math.min(step, left)
  last = note_next(first, step)
  first, step = last and '(' .. last, math.min(2 * step, LONGEST_STEP)
until not last or left == 0 or bytes > MOST_BYTES

for place, id in ipairs(ids) do
  local state = states[place]
  if is_wanted[state] and cancelling.handle(place, id) == state then
    counts[state] = counts[state] + 1
  end
end
cancelling.finish()
return { counts.queued, counts.running, last or '' }
