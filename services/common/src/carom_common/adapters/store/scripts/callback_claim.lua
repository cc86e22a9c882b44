-- Claims an attempt to call back.
-- ARGV: generation, callback_generation, callback_attempt, message_id, owner, lease_ms,
--       keep_until, birth, job, history, attempts, status, completed, error, dead (0 | 1), reason, only ask (0 | 1),
--       held (0 | 1)
-- Held, which lasts at most 400 s, is counted alone: `callback_holds` says that its message goes round still.
-- Replies {'run', claims so far, rebuilt (0 | 1)} | {'unknown'} | {'leased', ms} | {'drop', why}
--       | {'settled', callback status, eta, error, dead}
local now, generation = clock(), tonumber(ARGV[1])
local cgeneration, cattempt = tonumber(ARGV[2]), tonumber(ARGV[3])
local r = get('generation', 'status', 'callback_generation', 'callback_attempt', 'callback_settled_by', 'callback_owner',
  'callback_lease', 'callback', 'callback_claims')
local known = tonumber(r[1])
local final = is_final(r[2])

local rebuilt = 0
if known and generation < known then return {'drop', 'stale generation'} end
if not known or generation > known or not final then
  if ARGV[9] == '' then return {'unknown'} end
  rebuild(ARGV[9], generation, ARGV[11], '0', ARGV[8], ARGV[10])
  rebuilt, r[9] = 1, '0'
  set('status', ARGV[12], 'completed', ARGV[13], 'updated', ARGV[13], 'error', ARGV[14], 'dead', ARGV[15],
    'reason', ARGV[16], 'callback', 'pending')
  keep_until(ARGV[7])
else
  local g, settled = tonumber(r[3] or '1'), tonumber(r[4] or '0')
  if cgeneration < g then return {'drop', 'stale callback generation'} end
  if cgeneration == g then
    if cattempt <= settled then
      if cattempt < settled or r[5] ~= ARGV[4] then return {'drop', 'settled by another copy'} end
      local s = get('callback', 'callback_eta', 'callback_error', 'callback_dead')
      return {'settled', s[1], s[2] or '0', s[3] or '', s[4] or '0'}
    end
    if r[8] == 'delivered' or r[8] == 'failed' then return {'drop', r[8]} end
    local lease = left('callback_lease', r[7], now, ARGV[6])
    if lease > 0 and r[6] ~= ARGV[5] then return {'leased', lease} end
  else  -- redriven, and the store lost it
    set('callback', 'pending', 'callback_generation', cgeneration, 'callback_attempt', cattempt - 1, 'callback_lease', '0')
    redis.call('HDEL', state, 'callback_settled_by', 'callback_claims', 'callback_dead')
    r[9] = '0'
  end
end
if ARGV[18] == '1' then redis.call('HINCRBY', state, 'callback_holds', 1) end
local claims = 0
if ARGV[17] == '0' then
  claims = tonumber(r[9] or '0') + 1
  set('callback_generation', cgeneration, 'callback_owner', ARGV[5], 'callback_lease', now + ARGV[6],
    'callback_claims', claims)
end
return {'run', claims, rebuilt}
