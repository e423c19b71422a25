-- replication_marker.lua: write something, so that WAIT has something to wait for.
--
-- KEYS[1]  confirm: a string that means nothing
-- ARGV[1]  keep_ms: how long it stays
--
-- Returns 1. WAIT asks for the writes of its own connection. An enqueue that is
-- repeated over a new one finds its ids taken and writes nothing, so that from
-- Redis 7.2 on WAIT would answer at once, whatever the replicas have. They get
-- all writes in order: who has this one has those before it. Cost O(1).

redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 1
