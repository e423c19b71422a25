-- requeue.lua: return deliveries unfinished, for another worker to take at once.
--
-- KEYS[1..]  streams
-- ARGV[1]    group
-- ARGV[2]    prefix of the queue's keys
-- ARGV[3]    destination, an index into KEYS; if an overflow stream, the workers get a message
-- ARGV[4..]  two for each delivery: stream (an index into KEYS), entry
--
-- Returns how many were requeued; deliveries of other workers are left alone. The next delivery has
-- a higher number, as this one may have run for a while. It does not count against the job: only
-- deaths of workers do. A cancelled job ends instead.
-- Cost O(deliveries), about 6 microseconds each; callers send at most 250.
--
-- uses: cancelled check_keys control entry job put_again stats take_entry
-- flags: allow-oom

local group, prefix, goal = ARGV[1], ARGV[2], KEYS[tonumber(ARGV[3])]
local lane = string.sub(goal, string.len(prefix .. 'stream:') + 1)
local handed = 0
local are_cancelled = are_any_cancelled(prefix)
check_stream(goal)

local function put_back(stream, entry, values)
  values[N] = string.format('%d', tonumber(values[N]) + 1)
  local is_own = names_entry(prefix, values[ID], stream, entry)
  put_again(goal, lane, is_own and prefix .. 'job:' .. values[ID] or nil, unpack(values))
end

for at = 4, #ARGV, 2 do
  local stream, entry = KEYS[tonumber(ARGV[at])], ARGV[at + 1]
  local values, has_ended = take_back(prefix, stream, group, entry, are_cancelled)
  if values and not has_ended then
    put_back(stream, entry, values)
  end
  handed = handed + (values and 1 or 0)
end
if handed > 0 and string.find(lane, '^overflow:') then
  hint_to_workers(prefix .. 'control', lane)
end
count_noted_ends(prefix)
return handed
