-- A stretch of an index, newest first, in one step: entries come and go at every moment.
-- KEYS[1] carom:idx:<tenant>:<name>. ARGV: score, member, count. From the entry after (score, member) on, in descending
-- order of both; with an empty member from the score on, itself included. Replies member, score, member, score, ...
local key, score, member, count = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])

-- Redis orders members by bytes; Lua's own comparison depends on the locale.
local function less(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local first = redis.call('ZCOUNT', key, '(' .. score, '+inf')
if member ~= '' then
  local last = first + redis.call('ZCOUNT', key, score, score)
  while first < last do
    local middle = math.floor((first + last) / 2)
    if less(redis.call('ZREVRANGE', key, middle, middle)[1], member) then last = middle else first = middle + 1 end
  end
end
return redis.call('ZREVRANGE', key, first, first + count - 1, 'WITHSCORES')
