-- guard.lua: on a cluster, the first part of every script.
--
-- While the cluster moves the queue's slot from one node to another, some keys are here, some
-- there. A script that finds one missing is stopped in its middle, and what it has written stays
-- written. So each script first asks for two keys that never exist. The node that gives the slot
-- away refuses that as long as it does so, as a missing key may have gone already; the node that
-- gets it refuses it as one of several keys may still come. Either stops the script before it
-- has written anything, until the slot has one owner again.

do
  local prefix = string.match(KEYS[1], '^[^}]*}:')
  redis.call('EXISTS', prefix .. 'guard:1', prefix .. 'guard:2')
end
