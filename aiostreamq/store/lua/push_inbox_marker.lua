-- push_inbox_marker.lua: put a mark into an inbox, after all notices that it has.
--
-- KEYS[1]  inbox
-- ARGV[1]  mark, without spaces
-- ARGV[2]  inbox_ms: when an inbox expires that is not read
--
-- A reader that finds the mark has read all earlier notices. It stands in place of an outcome,
-- after an empty id. Returns 1. Cost O(1).
--
-- flags: allow-oom

redis.call('RPUSH', KEYS[1], ' ' .. ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
