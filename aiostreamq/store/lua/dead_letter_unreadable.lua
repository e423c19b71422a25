-- dead_letter_unreadable.lua: move entries that workers cannot read to the dead letters.
--
-- KEYS[1]    dead letters
-- KEYS[2..]  streams
-- ARGV[1]    group
-- ARGV[2]    prefix of the queue's keys
-- ARGV[3]    outcome, JSON: what is wrong with the entries; its n is 0: no delivery ended them
-- ARGV[4]    worker: name of the caller
-- ARGV[5]    max_dead: about how many dead letters are kept
-- ARGV[6]    keep_ms: how long the outcome of such a job is kept
-- ARGV[7]    inbox_ms: when an inbox expires that is not read
-- ARGV[8..]  two for each entry: stream (an index into KEYS), entry
--
-- Stops after about a megabyte of fields; one entry always goes.
-- Returns how many were moved, and how many were looked at. A dead letter has all fields of the entry, up to a limit. If the
-- entry is the present one of a job, the job ends as dead: it is counted, and its waiters are
-- notified.
-- Cost O(entries), about 6 microseconds each; callers send at most 250.
--
-- uses: callbacks cancelled check_keys ending entry job stats take_entry
-- flags: allow-oom

local dead, group, prefix, outcome, worker = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local max_dead, keep_ms, inbox_ms = ARGV[5], ARGV[6], ARGV[7]
local moved, looked, bytes = 0, 0, 0
local are_cancelled = are_any_cancelled(prefix)
check_stream(dead)

-- Lua can pass some 8,000 values at once, and an entry of another program may have more.
local MOST_VALUES = 1000

-- Bytes of fields that one call moves. Redis copies each, and other clients wait for that.
local MOST_BYTES = 1000000

for at = 8, #ARGV, 2 do
  local stream, entry = KEYS[tonumber(ARGV[at])], ARGV[at + 1]
  local values, has_ended = take_back(prefix, stream, group, entry, are_cancelled)
  if values then
    redis.call('XADD', dead, 'MAXLEN', '~', max_dead, '*',
      'outcome', outcome, 'worker', worker, 'stream', stream, 'entry', entry,
      unpack(values, 1, math.min(#values, MOST_VALUES)))
    if values[1] == 'id' and not has_ended and names_entry(prefix, values[ID], stream, entry) then
      end_as_dead(prefix, values[ID], values[ENVELOPE], outcome, keep_ms, inbox_ms)
      call_on_failure(prefix, values[ID], values[N] or '', entry, values[ENVELOPE])
    end
    moved = moved + 1
    for _, value in ipairs(values) do
      bytes = bytes + string.len(value)
    end
  end
  looked = looked + 1
  if bytes >= MOST_BYTES then
    break
  end
end
count_noted_ends(prefix)
return { moved, looked }
