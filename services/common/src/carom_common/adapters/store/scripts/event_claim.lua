-- Claims an attempt to tell an attempt's outcome. KEYS[1] carom:{<jobId>}:event:<generation>:<attempt>: such an event
-- has fences of its own, beside those of the final result.
-- ARGV: callback_attempt, message_id, owner, lease_ms (0: only ask), keep_until
-- Replies {'run', claims so far} | {'leased', ms} | {'drop', why} | {'settled', status, eta, error, '0'}
local now, cattempt = clock(), tonumber(ARGV[1])
local r = get('attempt', 'settled_by', 'owner', 'lease', 'status', 'eta', 'error')
local settled = tonumber(r[1] or '0')
if cattempt <= settled then
  if cattempt < settled or r[2] ~= ARGV[2] then return {'drop', 'settled by another copy'} end
  return {'settled', r[5], r[6], r[7], '0'}
end
if r[5] == 'delivered' or r[5] == 'failed' then return {'drop', r[5]} end
local lease = tonumber(r[4] or '0')
if lease > now and r[3] ~= ARGV[3] then return {'leased', lease - now} end
local claims = 0
if ARGV[4] ~= '0' then
  claims = redis.call('HINCRBY', state, 'claims', 1)
  set('owner', ARGV[3], 'lease', now + ARGV[4])
  keep_until(ARGV[5])
end
return {'run', claims}
