-- setup.lua: make sure that every stream of a queue and its consumer group exist.
--
-- KEYS[1..]  streams
-- ARGV[1]    group
--
-- Returns how many groups were missing, or NOPERM with the command that the user may not run.
-- Cost O(streams).

local group = ARGV[1]
local made = 0

-- First a write that needs no memory and does nothing: a script that has written is not
-- stopped when there is none, and workers must be able to start on a full Redis.
redis.pcall('XACK', KEYS[1], group, '0-0')

for _, stream in ipairs(KEYS) do
  -- From 0, never $: what was added before the group existed must be read too.
  local answer = redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
  if type(answer) == 'table' and answer.err then
    if not string.find(tostring(answer.err), 'BUSYGROUP', 1, true) then
      return answer
    end
  else
    made = made + 1
  end
end

-- Other scripts take an error of these for "nothing there", as a key may hold anything. A user
-- who may not run them would lose jobs, and is told here, before the first.
local stream = KEYS[1]
local asked = {
  ['xpending'] = { 'XPENDING', stream, group },
  ['xinfo|groups'] = { 'XINFO', 'GROUPS', stream },
  ['xrange'] = { 'XRANGE', stream, '0-1', '0-1' },
  ['xlen'] = { 'XLEN', stream },
  ['get'] = { 'GET', stream },
  ['hget'] = { 'HGET', stream, 'e' },
  ['hmget'] = { 'HMGET', stream, 'e' },
}
for name, command in pairs(asked) do
  local answer = redis.pcall(unpack(command))
  local told = type(answer) == 'table' and answer.err and tostring(answer.err) or ''
  -- As Redis up to 7.0 says it, and as newer ones do.
  if string.find(told, "user executing the script can't", 1, true)
    or string.find(told, 'ACL failure', 1, true) then
    return redis.error_reply("NOPERM this user has no permissions to run the '" .. name
      .. "' command")
  end
end
return made
