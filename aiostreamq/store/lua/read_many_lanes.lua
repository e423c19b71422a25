-- read_many_lanes.lua: deliver jobs of many lanes to a worker, by the weights of the lanes.
--
-- KEYS and ARGV[1..4] as read_lanes.lua
-- ARGV[5]    weights of the lanes, separated by spaces; a single number if all have the same
-- ARGV[6]    passes of the lanes, separated by spaces; empty if all are 0, as after a read that found
--            all lanes empty
--
-- Returns what read_lanes.lua does, and delivers the same number; -1 is the place of all lanes. That
-- script is cheaper for a few lanes, but O(lanes * lanes) if most are empty. Here the lanes are a heap,
-- lanes with the same share are read by one command, and empty lanes are left out by their lengths.
-- Cost O(lanes + count log lanes): about 2 microseconds a delivery and 0.6 an empty lane; callers ask
-- for at most 500.
--
-- flags: allow-oom

local group, consumer, left = ARGV[1], ARGV[2], tonumber(ARGV[3])
local is_strict = ARGV[4] == '1'
local streams, dry = {}, {}

-- How many turns come first, to see whether lanes are empty.
local FIRST_TURNS = 8
-- How many streams a command names at most: Lua can pass on some thousands of values.
local MOST_STREAMS = 1000

-- Return the streams that have entries, of at most *want* each.
local function read(want, ...)
  local found = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', want, 'STREAMS', ...)
  return found or {}
end

local function read_returned(want)
  local found = read(want, KEYS[1], '>')[1]
  streams[#streams + 1] = found
  return found and #found[2] or 0
end

-- Returned work goes first, but gets only half: jobs on their last chance are requeued again and
-- again, and all others would have to wait for them.
local asked = math.ceil(left / 2)
local got = read_returned(asked)
left = left - got
local has_more_returned = got == asked

-- The lanes that may have more, as a heap: the first has the next turn.
local heap, size = {}, 0
local stride, pass, is_dry = {}, {}, {}

-- Move the lane at a place of the heap down until its turn is before those below it.
local function sink(place)
  local lane, child = heap[place], 2 * place
  local own = pass[lane]
  while child <= size do
    local lower = heap[child]
    local least = pass[lower]
    if child < size then
      local other = heap[child + 1]
      local others = pass[other]
      if others < least or others == least and other < lower then
        child, lower, least = child + 1, other, others
      end
    end
    if own < least or own == least and lane < lower then
      break
    end
    heap[place] = lower
    place, child = child, 2 * child
  end
  heap[place] = lane
end

local function order_all()
  for place = math.floor(size / 2), 1, -1 do
    sink(place)
  end
end

local function note_dry(lane)
  is_dry[lane] = true
  dry[#dry + 1] = lane - 2
end

-- Return those of these lanes that have entries, new ones or ones that run, and note the others as
-- dry. Often there are a thousand lanes here and all are empty, so each look-up counts.
local function filled_among(lanes)
  local call, keys, filled, empty = redis.call, KEYS, {}, #dry
  for _, lane in ipairs(lanes) do
    if call('XLEN', keys[lane]) == 0 then
      empty = empty + 1
      dry[empty] = lane - 2
    else
      filled[#filled + 1] = lane
    end
  end
  return filled
end

local function all_lanes()
  local lanes = {}
  for lane = 2, #KEYS - 2 do
    lanes[lane - 1] = lane
  end
  return lanes
end

-- Read the weights and passes of the lanes.
local function read_turns()
  local same_weight = tonumber(ARGV[5])
  local next_weight, next_pass = string.gmatch(ARGV[5], '%d+'), string.gmatch(ARGV[6], '%S+')
  for lane = 2, #KEYS - 2 do
    stride[lane] = 1 / (same_weight or next_weight())
    local lane_pass = tonumber(next_pass() or 0)
    pass[lane] = is_strict and lane or lane_pass
  end
end

-- Have only these lanes share.
local function put_into_heap(lanes)
  heap, size = lanes, #lanes
  order_all()
end

local function remove_first()
  heap[1], size = heap[size], size - 1
  if size > 0 then
    sink(1)
  end
end

-- Return the lanes of the heap that are not dry.
local function lanes_left()
  local lanes = {}
  for place = 1, size do
    if not is_dry[heap[place]] then
      lanes[#lanes + 1] = heap[place]
    end
  end
  return lanes
end

-- Return the lanes of the next deliveries, by their first turns, and how many each gets.
local function share(count)
  local chosen, shares = {}, {}
  while count > 0 and size > 0 do
    local lane = heap[1]
    if is_dry[lane] then
      remove_first()
    else
      local has = shares[lane]
      if not has then
        chosen[#chosen + 1] = lane
      end
      if is_strict then
        shares[lane] = count
        break
      end
      shares[lane], count = (has or 0) + 1, count - 1
      pass[lane] = pass[lane] + stride[lane]
      sink(1)
    end
  end
  return chosen, shares
end

-- Read *want* entries of each of these lanes. arguments: their streams.
local function read_each(want, lanes, arguments)
  for _ = 1, #lanes do
    arguments[#arguments + 1] = '>'
  end
  local at = 1
  local found = read(want, unpack(arguments))
  for place, lane in ipairs(lanes) do
    local stream = found[at]
    local got = 0
    if stream and stream[1] == arguments[place] then
      got, at = #stream[2], at + 1
      streams[#streams + 1] = stream
    end
    left = left - got
    if got < want then
      note_dry(lane)
    end
  end
end

-- Read all that have the same share with one command.
local function read_all(chosen, shares)
  local groups, last = {}, {}
  for _, lane in ipairs(chosen) do
    local want = shares[lane]
    local alike = last[want]
    if not alike or #alike.lanes == MOST_STREAMS then
      alike = { want = want, lanes = {}, streams = {} }
      last[want], groups[#groups + 1] = alike, alike
    end
    alike.lanes[#alike.lanes + 1] = lane
    alike.streams[#alike.streams + 1] = KEYS[lane]
  end
  for _, alike in ipairs(groups) do
    read_each(alike.want, alike.lanes, alike.streams)
  end
end

if left > 0 and ARGV[6] == '' then -- most are empty, as all were when the worker last looked
  local filled = filled_among(all_lanes())
  if #filled > 0 then
    read_turns()
    put_into_heap(filled)
  end
elseif left > 0 then
  read_turns()
  put_into_heap(all_lanes())
  read_all(share(math.min(left, FIRST_TURNS)))
  if #dry > 0 then
    put_into_heap(filled_among(lanes_left()))
  end
end
while left > 0 and size > 0 do
  read_all(share(left))
end
if left > 0 and has_more_returned then
  read_returned(left)
end
if #dry == #KEYS - 3 then
  dry = { -1 }
end
return { streams, dry, redis.call('EXISTS', KEYS[#KEYS - 1], KEYS[#KEYS]) }
