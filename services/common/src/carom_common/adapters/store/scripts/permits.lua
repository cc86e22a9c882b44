-- Lends permits for calls to one destination to processes; those out never exceed the limit.
-- KEYS[1] carom:{dest:<host>}:permits, a hash: h:<process> = <count>:<until>, w:<process> = <since>:<until> of who waits
-- for more. ARGV: process, in use, wanted, limit, ms that they are lent for, waits (0 | 1).
-- Replies {how many calls this process may have at once now, how many others wait for more}. Nobody's calls are taken
-- away: what a process uses is out until it ends, though the limit was lowered and it may begin no other meanwhile.
local WAITS_MS = 400
local key, process, now = KEYS[1], ARGV[1], clock()
local used, wanted, limit = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local entries = redis.call('HGETALL', key)
local lent, mine, since, waiting = 0, 0, nil, {}
for i = 1, #entries, 2 do
  local kind, who = entries[i]:sub(1, 1), entries[i]:sub(3)
  local number, till = entries[i + 1]:match('^(%d+):(%d+)$')
  number, till = tonumber(number), tonumber(till)
  if till > now + ARGV[5] then  -- given before the clock went back
    redis.call('HSET', key, entries[i], string.format('%d:%d', number, now + ARGV[5]))
  end
  if till <= now then
    redis.call('HDEL', key, entries[i])
  elseif kind == 'h' then
    if who == process then mine = number else lent = lent + number end
  elseif who == process then
    since = math.min(number, now)
  else
    waiting[#waiting + 1] = number
  end
end
local got = math.min(wanted, math.max(0, limit - lent))
for _, other in ipairs(waiting) do
  if not since or other < since then  -- it waits for longer: no more than a fair share before its turn
    got = math.min(got, math.max(mine, math.floor(limit / (#waiting + 1))))
    break
  end
end
local out = math.max(got, used)
if out > 0 then
  redis.call('HSET', key, 'h:' .. process, string.format('%d:%d', out, now + ARGV[5]))
else
  redis.call('HDEL', key, 'h:' .. process)
end
if ARGV[6] == '1' and got < wanted then
  redis.call('HSET', key, 'w:' .. process, string.format('%d:%d', since or now, now + WAITS_MS))
elseif since then
  redis.call('HDEL', key, 'w:' .. process)
end
redis.call('PEXPIRE', key, ARGV[5] + WAITS_MS)
return {got, #waiting}
