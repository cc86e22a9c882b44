-- Claims an attempt to tell an attempt's outcome. KEYS[1] carom:{<jobId>}:event:<generation>:<attempt>: such an event
-- has fences of its own, beside those of the final result.
-- ARGV: callback_attempt, message_id, owner, lease_ms, keep_until, only ask (0 | 1)
-- Replies {'run', claims so far} | {'leased', ms} | {'drop', why} | {'settled', status, eta, error, '0'}
local now, cattempt = clock(), tonumber(ARGV[1])
local r = get('attempt', 'settled_by', 'owner', 'lease', 'status', 'eta', 'error')
local settled = tonumber(r[1] or '0')
if cattempt <= settled then
  if cattempt < settled or r[2] ~= ARGV[2] then return {'drop', 'settled by another copy'} end
  return {'settled', r[5], r[6], r[7], '0'}
end
if r[5] == 'delivered' or r[5] == 'failed' then return {'drop', r[5]} end
local lease = left('lease', r[4], now, ARGV[4])
if lease > 0 and r[3] ~= ARGV[3] then return {'leased', lease} end
local claims = 0
if ARGV[6] == '0' then
  claims = redis.call('HINCRBY', state, 'claims', 1)
  set('owner', ARGV[3], 'lease', now + ARGV[4])
  keep_until(ARGV[5])
end
return {'run', claims}
