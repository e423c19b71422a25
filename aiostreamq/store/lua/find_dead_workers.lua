-- find_dead_workers.lua: raise the lease clock, and claim workers whose lease is over.
--
-- KEYS[1]  workers: name -> its beat: "<counter> <lease_ms> <lanes>", or "dead <lanes>"
-- KEYS[2]  alive: name -> when its lease is over, by the lease clock
-- KEYS[3]  leases: the lease clock, and how to disconnect each worker
-- ARGV[1]  name of the caller, which does not find itself
-- ARGV[2]  lease_ms of the caller
-- ARGV[3]  limit: how many are claimed at most
-- ARGV[4]  census_ms: the time between two searches for consumers that are not registered
--
-- Returns {ms until the next look (a tick, or less if a lease is over before), 1 if there may be
-- more, 1 if the caller is to search for consumers that are not registered, and for each dead
-- worker its name, its beat, and the id of the connection on which it reads, '' if unknown}. The
-- lease of each is moved on by one tick: that
-- is the claim, so that one caller recovers it, and another if that one dies.
-- Workers of the release before do not stamp their leases. They are stamped here, with the beat
-- that was seen; at the end of the lease a beat that has changed is stamped again.
-- Cost O(log workers + limit); O(workers) after one came or went that stamps no lease.
--
-- uses: lease_clock
-- flags: allow-oom

local workers, alive, leases = KEYS[1], KEYS[2], KEYS[3]
local own, limit, census_ms = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])

-- A fleet of this size looks when a lease is over, and not only once a tick.
local FEW = 16

-- Ms. The clock may go a day after the last look. The next worker starts a new one.
local LEASES_KEPT = 86400000

local now, tick, changes, swept, census = raise_lease_clock(leases, alive, tonumber(ARGV[2]))
if swept and swept <= now and now - swept < GRAIN then
  return { tick, 0, 0 }
end

-- The field of a worker that stamps no lease holds this and its beat, not the id of a connection.
local SEEN = 'seen '

local function lease_of(beat)
  if string.find(beat, '^dead') then
    return 0
  end
  local lease = string.match(beat, '^%S+ (%d+)')
  -- A beat that cannot be read was not written by a worker.
  return lease and string.len(lease) <= 15 and tonumber(lease) or nil
end

local function stamp(name, beat)
  local lease = lease_of(beat)
  redis.call('ZADD', alive, lease and as_integer(now + lease) or '+inf', name)
  redis.call('HSET', leases, lease_field(name), SEEN .. beat)
end

-- Make the names in both keys the same: an older worker changes one of them only.
local function reconcile()
  local beats, known, is_stamped = redis.call('HGETALL', workers), {}, {}
  for _, name in ipairs(redis.call('ZRANGE', alive, 0, -1)) do
    is_stamped[name] = true
  end
  for at = 1, #beats, 2 do
    known[beats[at]] = true
    if not is_stamped[beats[at]] then
      stamp(beats[at], beats[at + 1])
    end
  end
  for name in pairs(is_stamped) do
    if not known[name] then
      forget_lease(leases, alive, name)
    end
  end
end

-- First a write that needs no memory: Redis 6.2 lets a script that has written finish when memory
-- is full.
redis.call('PEXPIRE', leases, LEASES_KEPT)
if redis.call('HLEN', workers) ~= redis.call('ZCARD', alive) then
  reconcile()
end

local answer = { tick, 0, 0 }

local function change(field, time)
  changes[#changes + 1] = field
  changes[#changes + 1] = as_integer(time)
end

local function claim(name, beat, reader)
  redis.call('ZADD', alive, as_integer(now + tick), name)
  answer[#answer + 1] = name
  answer[#answer + 1] = beat
  answer[#answer + 1] = reader
end

local over = redis.call('ZRANGEBYSCORE', alive, '-inf', as_integer(now), 'LIMIT', 0, limit)
for _, name in ipairs(over) do
  local beat = redis.call('HGET', workers, name)
  local kept = redis.call('HGET', leases, lease_field(name)) or ''
  local seen = string.sub(kept, 1, #SEEN) == SEEN and string.sub(kept, #SEEN + 1)
  if not beat then
    forget_lease(leases, alive, name)
  elseif seen and seen ~= beat and lease_of(beat) ~= 0 then
    stamp(name, beat)
  elseif name ~= own then
    claim(name, beat, seen and '' or kept)
  end
end

-- Return ms until the next lease is over, if that is before the next look. Large fleets look often
-- enough anyway, and would all look at that moment.
local function until_next_death()
  if redis.call('ZCARD', alive) > FEW then
    return tick
  end
  local next = redis.call('ZRANGEBYSCORE', alive, '(' .. as_integer(now), '+inf', 'WITHSCORES',
    'LIMIT', 0, 1)
  return math.max(GRAIN, math.min(tick, (tonumber(next[2]) or math.huge) - now))
end

if #over == limit then
  answer[2] = 1
else
  change('swept', now)
  answer[1] = until_next_death()
end
if not census or census <= now or census - now > census_ms then
  change('census', now + census_ms)
  answer[3] = 1
end
if #changes > 0 then
  redis.call('HSET', leases, unpack(changes))
end
return answer
