-- read_lanes.lua: deliver jobs of several lanes to a worker, by the weights of the lanes.
--
-- KEYS[1]    stream of returned work: read first, up to half of all if lanes have work
-- KEYS[2..]  streams of the lanes, the heaviest first; then cancelled, paused
-- ARGV[1]    group
-- ARGV[2]    consumer
-- ARGV[3]    count: how many deliveries at most
-- ARGV[4]    strict: 1 to read a lane only when those before it are empty
-- ARGV[5..]  two for each lane: weight, and pass: its progress, in jobs divided by weight
--
-- Returns {streams, dry, steered}: streams as XREADGROUP returns them, a stream maybe several
-- times; the places (from 0) of the lanes that had no more; and 0 if no cancelled or paused job can
-- be among these. Cost O(count times lanes), about 2 microseconds a delivery; callers ask for at
-- most 500.
--
-- flags: allow-oom

local group, consumer, left = ARGV[1], ARGV[2], tonumber(ARGV[3])
local is_strict = ARGV[4] == '1'
local streams, dry = {}, {}

-- Deliver at most *want* entries, and return how many there were.
local function read(stream, want)
  local found = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', want,
    'STREAMS', stream, '>')
  if not found or not found[1] then
    return 0
  end
  streams[#streams + 1] = found[1]
  return #found[1][2]
end

-- Returned work goes first, but gets only half: jobs on their last chance are requeued again and
-- again, and all others would have to wait for them.
local asked = math.ceil(left / 2)
local got = read(KEYS[1], asked)
left = left - got
local has_more_returned = got == asked

local lanes, weight, pass = {}, {}, {}
for lane = 2, #KEYS - 2 do
  lanes[#lanes + 1] = lane
  weight[lane], pass[lane] = tonumber(ARGV[2 * lane + 1]), tonumber(ARGV[2 * lane + 2])
end

-- Return how many of the next deliveries each lane gets.
local function share(count)
  local shares = {}
  for _ = 1, is_strict and 0 or count do
    local next = lanes[1]
    for _, lane in ipairs(lanes) do
      if pass[lane] < pass[next] then
        next = lane
      end
    end
    shares[next] = (shares[next] or 0) + 1
    pass[next] = pass[next] + 1 / weight[next]
  end
  if is_strict then
    shares[lanes[1]] = count
  end
  return shares
end

while left > 0 and #lanes > 0 do
  local shares, with_more = share(left), {}
  for _, lane in ipairs(lanes) do
    local want = shares[lane] or 0
    local got = want > 0 and read(KEYS[lane], want) or 0
    left = left - got
    if got < want then
      dry[#dry + 1] = lane - 2
    else
      with_more[#with_more + 1] = lane
    end
  end
  lanes = with_more
end
if left > 0 and has_more_returned then
  read(KEYS[1], left)
end
return { streams, dry, redis.call('EXISTS', KEYS[#KEYS - 1], KEYS[#KEYS]) }
