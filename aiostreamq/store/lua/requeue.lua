-- requeue.lua: give deliveries up unfinished, for another worker to take at once.
--
-- KEYS[1..]  streams
-- ARGV[1]    group
-- ARGV[2]    prefix of the queue's keys
-- ARGV[3]    where they go: an index into KEYS. Workers with free threads or processes are told
--            of what goes to an overflow stream
-- ARGV[4..]  two for each delivery: stream (an index into KEYS), entry
--
-- Returns how many were handed back; those of others are left alone. The next
-- delivery has a higher number, as this one may have run a while. It does not count
-- against the job: only workers that died with it do. A cancelled job ends instead.
-- Cost O(deliveries), about 6 microseconds each; callers send at most 250.

local group, prefix, goal = ARGV[1], ARGV[2], KEYS[tonumber(ARGV[3])]
local lane = string.sub(goal, string.len(prefix .. 'stream:') + 1)
local handed = 0
local are_cancelled = are_any_cancelled(prefix)
redis.call('XLEN', goal) -- raises here where it is no stream: later would be too late

local function put_back(stream, entry, fields)
  for field = 1, #fields, 2 do
    if fields[field] == 'n' then
      fields[field + 1] = string.format('%d', (tonumber(fields[field + 1]) or 0) + 1)
    end
  end
  local fresh = redis.call('XADD', goal, '*', unpack(fields))
  for field = 1, #fields, 2 do
    local id = fields[field] == 'id' and fields[field + 1]
    if id and names_entry(prefix, id, stream, entry) then
      redis.call('HSET', prefix .. 'job:' .. id, 'e', fresh, 's', lane)
    end
  end
end

for at = 4, #ARGV, 2 do
  local stream, entry = KEYS[tonumber(ARGV[at])], ARGV[at + 1]
  local found = redis.call('XRANGE', stream, entry, entry)
  if redis.call('XACK', stream, group, entry) == 1 and found[1] then
    local fields = found[1][2]
    if not (are_cancelled and fields[1] == 'id'
      and has_been_cancelled(prefix, fields[2], entry, fields[6])) then
      put_back(stream, entry, fields)
    end
    redis.call('XDEL', stream, entry)
    handed = handed + 1
  end
end
if handed > 0 and string.find(lane, '^overflow:') then
  -- Only a hint: they look now and then.
  redis.pcall('XADD', prefix .. 'control', 'MAXLEN', '~', 1000, '*', 'say', lane)
end
count_noted_ends(prefix)
return handed
