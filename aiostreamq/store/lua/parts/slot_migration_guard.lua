-- slot_migration_guard.lua: stops a script while the queue's slot moves. On a cluster, the first part of every
-- script.
--
-- While the cluster moves the queue's slot from one node to another, some keys are on the old node,
-- some on the new one. A script that finds one missing is stopped in the middle, and its writes
-- stay. So each script first asks for two keys that never exist. The old node refuses this while it
-- gives the slot away, as a missing key may have moved already. The new node refuses it, as one of
-- several keys may still come. Both stop the script before its first write, until the slot has one
-- owner again.

do
  local prefix = string.match(KEYS[1], '^[^}]*}:')
  redis.call('EXISTS', prefix .. 'guard:1', prefix .. 'guard:2')
end
