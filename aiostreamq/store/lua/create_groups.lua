-- create_groups.lua: create the streams of a queue and their consumer groups.
--
-- KEYS[1..]  streams
-- ARGV[1]    group
--
-- Returns how many groups were missing, or NOPERM with the command that the user may not run.
-- Cost O(streams).
--
-- flags: allow-oom

local group = ARGV[1]
local made = 0

-- Redis up to 7.0 does not name the command that it refuses; newer versions have another message.
local function refusal(command, answer)
  local message = type(answer) == 'table' and answer.err and tostring(answer.err) or ''
  if string.find(message, "user executing the script can't", 1, true)
    or string.find(message, 'ACL failure', 1, true) then
    return redis.error_reply("NOPERM this user has no permissions to run the '" .. command
      .. "' command")
  end
end

-- First a write that does nothing and needs no memory. A script that has written is not stopped
-- when memory is full, and workers must be able to start then.
local acked = redis.pcall('XACK', KEYS[1], group, '0-0')
if refusal('xack', acked) then
  return refusal('xack', acked)
end

for _, stream in ipairs(KEYS) do
  -- From 0, never $: entries that were added before the group existed must be read too.
  local answer = redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
  if type(answer) == 'table' and answer.err then
    if not string.find(tostring(answer.err), 'BUSYGROUP', 1, true) then
      return refusal('xgroup|create', answer) or answer
    end
  else
    made = made + 1
  end
end

-- Other scripts take an error of these commands for "nothing there", as another program may have
-- overwritten a key. Without the right to run them jobs would be lost, so it is checked here.
local stream = KEYS[1]
local commands = {
  { 'xpending', 'XPENDING', stream, group },
  { 'xinfo|groups', 'XINFO', 'GROUPS', stream },
  { 'xrange', 'XRANGE', stream, '0-1', '0-1' },
  { 'xlen', 'XLEN', stream },
  { 'get', 'GET', stream },
  { 'hget', 'HGET', stream, 'e' },
  { 'hmget', 'HMGET', stream, 'e' },
}
for _, command in ipairs(commands) do
  local refused = refusal(command[1], redis.pcall(unpack(command, 2)))
  if refused then
    return refused
  end
end
return made
