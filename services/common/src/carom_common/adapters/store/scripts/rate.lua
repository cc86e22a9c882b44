-- Lends tokens of a caller's bucket: `rate` a second, at most `burst` of them in store.
-- KEYS[1] carom:{rate:<key id>}:tokens, a hash. ARGV: rate, burst, how many at least, at most.
-- More than `at least` are lent only up to a tenth of what is there, so that little is out where little is left.
-- Replies {lent, left, ms until the next one}. A repeat after a lost reply lends again: less than the rate is used then.
local rate, burst, least, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now = clock()
local r = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = burst
if r[1] then
  tokens = math.min(burst, tonumber(r[1]) + math.max(0, now - tonumber(r[2])) * rate / 1000)
end
local whole = math.floor(tokens + 1e-6)
local lent = math.min(whole, math.max(least, math.min(most, math.floor(whole / 10))))
tokens = tokens - lent
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%d', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 1000)
return {lent, math.floor(tokens + 1e-6), math.max(1, math.ceil((1 - tokens) / rate * 1000))}
