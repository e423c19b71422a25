-- time_text.lua: writes a time as text. A part of every script that puts a time into a message.
--
-- Lua in Redis has no calendar. Days are counted from 1 March, so that a leap day is the
-- last of its year: http://howardhinnant.github.io/date_algorithms.html#civil_from_days

-- Return a time, in ms since 1970, as '2026-11-21 13:24:05 UTC'.
local function moment(ms)
  local seconds = math.floor(ms / 1000)
  local day = math.floor(seconds / 86400) + 719468 -- from 0000-03-01
  local era = math.floor(day / 146097) -- of 400 years
  day = day - era * 146097
  local year = math.floor((day - math.floor(day / 1460) + math.floor(day / 36524)
    - math.floor(day / 146096)) / 365)
  day = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * day + 2) / 153) -- from March, 0
  day = day - math.floor((153 * month + 2) / 5) + 1
  year = year + era * 400
  if month >= 10 then
    year, month = year + 1, month - 12
  end
  local time = seconds % 86400
  return string.format('%04d-%02d-%02d %02d:%02d:%02d UTC', year, month + 3, day,
    math.floor(time / 3600), math.floor(time / 60) % 60, time % 60)
end
