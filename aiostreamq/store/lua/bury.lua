-- bury.lua: move entries that no worker can read to the dead letters.
--
-- KEYS[1]    dead letters
-- KEYS[2..]  streams
-- ARGV[1]    group
-- ARGV[2]    outcome, JSON: what is wrong with them
-- ARGV[3]    worker: name of the caller
-- ARGV[4]    max_dead: about how many dead letters are kept
-- ARGV[5..]  two for each entry: stream (an index into KEYS), entry
--
-- Returns how many were moved. Whatever fields the entry has go along as they
-- are. Cost O(entries), about 6 microseconds each; callers send at most 250.

local dead, group = KEYS[1], ARGV[1]
local outcome, worker, max_dead = ARGV[2], ARGV[3], ARGV[4]
local buried = 0

for at = 5, #ARGV, 2 do
  local stream, entry = KEYS[tonumber(ARGV[at])], ARGV[at + 1]
  local found = redis.call('XRANGE', stream, entry, entry)
  if redis.call('XACK', stream, group, entry) == 1 and found[1] then
    redis.call('XADD', dead, 'MAXLEN', '~', max_dead, '*',
      'outcome', outcome, 'worker', worker, 'stream', stream, 'entry', entry, unpack(found[1][2]))
    redis.call('XDEL', stream, entry)
    buried = buried + 1
  end
end
return buried
