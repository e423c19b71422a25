-- cancel.lua: cancel jobs that have not ended, in whatever state they are.
--
-- KEYS[1]    delayed: job id by due time in ms
-- KEYS[2]    control
-- KEYS[3]    cancelled: job id by the time of the request
-- ARGV[1]    group
-- ARGV[2]    prefix of the queue's keys
-- ARGV[3]    keep_ms: how long the outcome is kept if the envelope has no result_ttl
-- ARGV[4]    states: cancel only jobs in these, separated by spaces; empty for any
-- ARGV[5..]  job ids
--
-- Returns the state of each job before the call. A job that is 'delayed', 'held', 'parked' or 'queued' has
-- ended now, and is counted. A job that is 'running' is ended by its worker, which gets a message.
-- For a job that had ended before: its outcome (JSON), or 'cancelled' or 'done' if none is kept.
-- nil if there is no such job; 0 if it was not looked at, because a megabyte was read for others. The
-- first one always is. The entry of a queued job stays in its stream, because Redis could
-- not report the lag of the group if it were deleted. The worker that receives the entry drops it.
-- Cost O(ids log delayed), about 10 microseconds each if they are in the order of their lane;
-- callers send at most 100.
--
-- uses: cancelling
-- flags: allow-oom

local prefix, entries, states = ARGV[2], cancelling.entries, cancelling.states
local envelopes = cancelling.envelopes
local answers, answer_of = {}, {}

-- How many entries are read in one step, and bytes after which no more jobs are looked at. Redis
-- copies what is read, and other clients wait for that.
local LONGEST_STEP, MOST_BYTES = 8, 1000000
local bytes, left_out = 0, {}

-- Whether one more job may be looked at; if not, leave it out.
local function has_room(place)
  left_out[place] = bytes >= MOST_BYTES
  return not left_out[place]
end

local function load_all()
  local is_loaded = {}
  for at = 5, #ARGV do
    local id = ARGV[at]
    if not is_loaded[id] and has_room(at - 4) then -- an id that is given twice is one job
      is_loaded[id] = true
      cancelling.load(at - 4, id)
      bytes = bytes + string.len(envelopes[at - 4] or '')
    end
  end
end

-- Note whether the job of an entry runs, and its envelope.
local function note(place, state, fields)
  cancelling.note_entry(place, state, fields)
  bytes = bytes + string.len(envelopes[place] or '')
end

-- Find out of some jobs of a lane whether they run, and their envelopes. Usually the jobs are in the
-- order of the lane with few others between, and are found together.
local function look_at(lane, places)
  local stream, fields = prefix .. 'stream:' .. lane, {}
  local first, last = entries[places[1]], entries[places[#places]]
  for _, entry in ipairs(redis.call('XRANGE', stream, first, last, 'COUNT', #places)) do
    fields[entry[1]] = entry[2]
  end
  local deliveries = cancelling.deliveries_between(stream, first, last, #places)
  for _, place in ipairs(places) do
    local entry = entries[place]
    if fields[entry] then
      note(place, cancelling.state_in(lane, entry, deliveries), fields[entry])
    else
      local alone = redis.call('XRANGE', stream, entry, entry)[1]
      local state = alone and cancelling.state_in(lane, entry) or 'queued'
      note(place, state, alone and alone[2])
    end
  end
end

local function look_at_lane(lane, places)
  local at = 1
  while places[at] do
    local some = {}
    while places[at] and #some < LONGEST_STEP and has_room(places[at]) do
      some[#some + 1], at = places[at], at + 1
    end
    if #some > 0 then
      look_at(lane, some)
    else
      at = at + 1
    end
  end
end

local function look_at_lanes()
  local by_lane = {}
  for place = 1, #ARGV - 4 do
    if states[place] == 'in_lane' then
      local lane = by_lane[cancelling.lanes[place]] or {}
      lane[#lane + 1], by_lane[cancelling.lanes[place]] = place, lane
    end
  end
  for lane, places in pairs(by_lane) do
    look_at_lane(lane, places)
  end
end

load_all()
look_at_lanes()
for at = 5, #ARGV do
  local id = ARGV[at]
  local answer = answer_of[id]
  if answer == nil then
    answer = left_out[at - 4] and 0 or cancelling.handle(at - 4, id)
    answer_of[id] = answer
  end
  answers[at - 4] = answer
end
cancelling.finish()
return answers
