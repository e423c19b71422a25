-- ping_inbox.lua: put a word into an inbox, behind all that it has been told.
--
-- KEYS[1]  inbox
-- ARGV[1]  word, without spaces
-- ARGV[2]  inbox_ms: an inbox that nobody empties goes away after this
--
-- Whoever reads the word has read all that was said before. It stands where the
-- outcome of a job stands, after an empty id. Returns 1. Cost O(1).
--
-- flags: allow-oom

redis.call('RPUSH', KEYS[1], ' ' .. ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
