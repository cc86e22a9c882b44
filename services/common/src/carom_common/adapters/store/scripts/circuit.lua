-- The circuits that are open, and who may probe. KEYS[1] carom:{control}:open, KEYS[2] carom:{control}:closed (sorted
-- sets, host by the time that it happened), KEYS[3] carom:{control}:probe:<host>.
-- ARGV: what (open | close | probe | give-back), host, process, ms that a probe may take, ms that a circuit stays open.
-- Replies 1, or 0 when another process probes, or did so in vain.
local what, host, now = ARGV[1], ARGV[2], clock()
if what == 'probe' then
  local opened = redis.call('ZSCORE', KEYS[1], host)
  if opened and now < tonumber(opened) + tonumber(ARGV[5]) then return 0 end
  local held = redis.call('SET', KEYS[3], ARGV[3], 'NX', 'PX', ARGV[4])
  if held then return 1 end
  redis.call('PEXPIRE', KEYS[3], ARGV[4], 'LT')  -- the clock may have gone back since
  return redis.call('GET', KEYS[3]) == ARGV[3] and 1 or 0
end
if redis.call('GET', KEYS[3]) == ARGV[3] or what == 'close' then redis.call('DEL', KEYS[3]) end
if what == 'open' then
  redis.call('ZADD', KEYS[1], now, host)
  redis.call('ZREM', KEYS[2], host)
elseif what == 'close' then
  redis.call('ZREM', KEYS[1], host)
  redis.call('ZADD', KEYS[2], now, host)
end
return 1
