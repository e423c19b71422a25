-- replication_marker.lua: write something, so that WAIT has a write to wait for.
--
-- KEYS[1]  confirm: a string without a meaning
-- ARGV[1]  keep_ms: how long it stays
--
-- Returns 1. WAIT waits for the writes of its own connection. An enqueue that is repeated over a
-- new connection finds its ids taken and writes nothing, so from Redis 7.2 on WAIT would answer at
-- once, whatever the replicas have. Replicas get all writes in order: one that has this write has
-- all earlier ones. Cost O(1).

redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 1
