-- count.lua: note how jobs have ended, for those who look into the queue.
--
-- KEYS[1]    recent: what ended lately, an entry a call
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2]    kinds: what ended, added up: fields of the counters and numbers
-- ARGV[3]    codes: for each job the place (from 0) of its kind, two hexadecimal digits
-- ARGV[4]    ids: of the jobs, maybe not of all
-- ARGV[5]    waits: as kinds, how long they had waited
--
-- Returns 1. Apart from settle.lua, so that nobody waits for it; a call that is repeated
-- after a lost reply counts twice. Cost O(kinds), some 10 microseconds a call.

local recent, prefix = KEYS[1], ARGV[1]

count_ends(recent, prefix, ARGV[2], ARGV[3], ARGV[4], ARGV[5])
return 1
