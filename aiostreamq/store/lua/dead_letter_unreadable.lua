-- dead_letter_unreadable.lua: move entries that no worker can read to the dead letters.
--
-- KEYS[1]    dead letters
-- KEYS[2..]  streams
-- ARGV[1]    group
-- ARGV[2]    prefix of the queue's keys
-- ARGV[3]    outcome, JSON: what is wrong with them; its n is 0, as no delivery ended it
-- ARGV[4]    worker: name of the caller
-- ARGV[5]    max_dead: about how many dead letters are kept
-- ARGV[6]    keep_ms: how long the outcome of a job that is given up so is kept
-- ARGV[7]    inbox_ms: an inbox that nobody empties goes away after this
-- ARGV[8..]  two for each entry: stream (an index into KEYS), entry
--
-- Returns how many were moved. Whatever fields the entry has go along as they
-- are, up to a bound. Where the entry is the present one of a job, the job ends with
-- it, which is counted, and whoever waits is told. Cost O(entries), about 6 microseconds
-- each; callers send at most 250.
--
-- uses: cancelled check ending entry job stats take_back
-- flags: allow-oom

local dead, group, prefix, outcome, worker = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local max_dead, keep_ms, inbox_ms = ARGV[5], ARGV[6], ARGV[7]
local buried = 0
local are_cancelled = are_any_cancelled(prefix)
check_stream(dead)

-- Lua can hand on some 8,000 values at once, and a stranger may write more.
local MOST_VALUES = 1000

for at = 8, #ARGV, 2 do
  local stream, entry = KEYS[tonumber(ARGV[at])], ARGV[at + 1]
  local values, has_ended = take_back(prefix, stream, group, entry, are_cancelled)
  if values then
    redis.call('XADD', dead, 'MAXLEN', '~', max_dead, '*',
      'outcome', outcome, 'worker', worker, 'stream', stream, 'entry', entry,
      unpack(values, 1, math.min(#values, MOST_VALUES)))
    if values[1] == 'id' and not has_ended and names_entry(prefix, values[ID], stream, entry) then
      end_as_dead(prefix, values[ID], values[ENVELOPE], outcome, keep_ms, inbox_ms)
    end
    buried = buried + 1
  end
end
count_noted_ends(prefix)
return buried
