-- count.lua: note how jobs have ended, for those who look into the queue.
--
-- KEYS[1]    recent: what ended lately, an entry a call
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2]    recent_length: about how many entries `recent` has
-- ARGV[3]    recent_ms: how long it is kept when nothing ends
-- ARGV[4]    stats_ms: how long the counters of a minute are kept
-- ARGV[5]    kinds: what ended, added up: fields of the counters and numbers
-- ARGV[6]    codes: for each job the place (from 0) of its kind, two hexadecimal digits
-- ARGV[7]    ids: of the jobs, maybe not of all
-- ARGV[8]    waits: as kinds, how long they had waited
--
-- Returns 1. Apart from settle.lua, so that nobody waits for it; a call that is repeated
-- after a lost reply counts twice. Cost O(kinds), some 10 microseconds a call.

local recent, prefix, kinds, waits = KEYS[1], ARGV[1], ARGV[5], ARGV[8]
local is_new = false

local at = redis.call('XADD', recent, 'MAXLEN', '~', ARGV[2], '*',
  'kinds', kinds, 'codes', ARGV[6], 'ids', ARGV[7])
local minute = math.floor(tonumber(string.match(at, '^%d+')) / 60000)
local stats = prefix .. 'stats:' .. string.format('%d', minute)
for field, count in string.gmatch(kinds .. ' ' .. waits, '(%S+) (%d+)') do
  is_new = redis.call('HINCRBY', stats, field, count) == tonumber(count) or is_new
end
if is_new then -- about once a minute, which is often enough
  redis.call('PEXPIRE', stats, ARGV[4])
  redis.call('PEXPIRE', recent, ARGV[3])
end
return 1
