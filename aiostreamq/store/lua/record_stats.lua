-- record_stats.lua: note how jobs have ended, for those who look into the queue.
--
-- KEYS[1]    recent: what ended lately, an entry a call
-- KEYS[2]    counted: the number of the caller's last call
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2]    number of this call, another with each of the caller's
-- ARGV[3]    kinds: what ended, added up: fields of the counters and numbers
-- ARGV[4]    codes: for each job the place (from 0) of its kind, two hexadecimal digits
-- ARGV[5]    ids: of the jobs, maybe not of all
-- ARGV[6]    waits: as kinds, how long they had waited
--
-- Returns 1, or 0 where this call has been made before: a caller makes one at a time, and
-- repeats it until it has an answer. Apart from settle.lua, so that nobody waits for it. Cost
-- O(kinds), some 12 microseconds a call.
--
-- uses: stats

local recent, counted, prefix, number = KEYS[1], KEYS[2], ARGV[1], ARGV[2]

-- Not for ever: it could be nobody's any more. So long that what the call was about
-- would be out of the counters by the time it is repeated.
if redis.call('SET', counted, number, 'PX', STATS_MS, 'GET') == number then
  return 0
end
count_ends(recent, prefix, ARGV[3], ARGV[4], ARGV[5], ARGV[6])
return 1
