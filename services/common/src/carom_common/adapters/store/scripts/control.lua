-- What every consuming process asks for once a second. KEYS, all carom:{control}:*: version, pauses, destinations, open,
-- closed, proven, asked. ARGV: version known, time of the last look (0: none), hosts that this process found to be there ...
-- Replies {now, version, pauses or {}, destinations or {}, opened, closed, proven, asked}; the two hashes only when the version
-- is another, the sorted sets (host, time, ...) from a little before the last look on.
local OVERLAP_MS, KEPT_MS, CLOSED_KEPT_MS, PROVEN = 2000, 3600000, 60000, 20000
local now = clock()
local from = math.min(tonumber(ARGV[2]), now)
local version = redis.call('GET', KEYS[1]) or '0'
local pauses, rules = {}, {}
if version ~= ARGV[1] then
  pauses, rules = redis.call('HVALS', KEYS[2]), redis.call('HGETALL', KEYS[3])
end
if #ARGV > 2 then
  for i = 3, #ARGV do redis.call('ZADD', KEYS[6], now, ARGV[i]) end
  redis.call('ZREMRANGEBYRANK', KEYS[6], 0, -PROVEN - 1)
end
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - KEPT_MS)
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now - CLOSED_KEPT_MS)
redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', now - KEPT_MS)
-- What happened before the clock went back would be told as new each time.
for i = 4, 6 do
  for _, host in ipairs(redis.call('ZRANGEBYSCORE', KEYS[i], '(' .. now, '+inf')) do
    redis.call('ZADD', KEYS[i], now, host)
  end
end
local function since(key)
  return redis.call('ZRANGEBYSCORE', key, math.max(0, from - OVERLAP_MS), '+inf', 'WITHSCORES', 'LIMIT', 0, PROVEN)
end
return {now, version, pauses, rules, since(KEYS[4]), since(KEYS[5]), since(KEYS[6]),
  redis.call('GET', KEYS[7]) or ''}
