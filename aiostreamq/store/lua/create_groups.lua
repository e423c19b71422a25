-- create_groups.lua: make sure that every stream of a queue and its consumer group exist.
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

-- Redis up to 7.0 does not say which command it refuses; newer ones have other words.
local function refusal(command, answer)
  local told = type(answer) == 'table' and answer.err and tostring(answer.err) or ''
  if string.find(told, "user executing the script can't", 1, true)
    or string.find(told, 'ACL failure', 1, true) then
    return redis.error_reply("NOPERM this user has no permissions to run the '" .. command
      .. "' command")
  end
end

-- First a write that needs no memory and does nothing: a script that has written is not
-- stopped when there is none, and workers must be able to start on a full Redis.
local acked = redis.pcall('XACK', KEYS[1], group, '0-0')
if refusal('xack', acked) then
  return refusal('xack', acked)
end

for _, stream in ipairs(KEYS) do
  -- From 0, never $: what was added before the group existed must be read too.
  local answer = redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
  if type(answer) == 'table' and answer.err then
    if not string.find(tostring(answer.err), 'BUSYGROUP', 1, true) then
      return refusal('xgroup|create', answer) or answer
    end
  else
    made = made + 1
  end
end

-- Other scripts take an error of these for "nothing there", as a key may hold anything. A user
-- who may not run them would lose jobs, and is told here, before the first.
local stream = KEYS[1]
local asked = {
  { 'xpending', 'XPENDING', stream, group },
  { 'xinfo|groups', 'XINFO', 'GROUPS', stream },
  { 'xrange', 'XRANGE', stream, '0-1', '0-1' },
  { 'xlen', 'XLEN', stream },
  { 'get', 'GET', stream },
  { 'hget', 'HGET', stream, 'e' },
  { 'hmget', 'HMGET', stream, 'e' },
}
for _, command in ipairs(asked) do
  local refused = refusal(command[1], redis.pcall(unpack(command, 2)))
  if refused then
    return refused
  end
end
return made
