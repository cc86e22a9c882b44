-- Claims an attempt to call back.
-- ARGV: now, generation, callback_generation, callback_attempt, message_id, owner, lease_until (0: only ask),
--       keep_until, created, job, history, attempts, status, completed, error
-- Replies {'run'} | {'unknown'} | {'leased', ms} | {'drop', why} | {'settled', callback status, eta, error, dead}
local now, generation = tonumber(ARGV[1]), tonumber(ARGV[2])
local cgeneration, cattempt = tonumber(ARGV[3]), tonumber(ARGV[4])
local r = get('generation', 'status', 'callback_generation', 'callback_attempt', 'callback_settled_by', 'callback_owner',
  'callback_lease', 'callback')
local known = tonumber(r[1])
local final = is_final(r[2])

if known and generation < known then return {'drop', 'stale generation'} end
if not known or generation > known or not final then
  if ARGV[10] == '' then return {'unknown'} end
  rebuild(ARGV[10], generation, ARGV[12], ARGV[9], ARGV[11])
  set('status', ARGV[13], 'completed', ARGV[14], 'updated', ARGV[14], 'error', ARGV[15], 'callback', 'pending')
  keep_until(ARGV[8])
else
  local g, settled = tonumber(r[3] or '1'), tonumber(r[4] or '0')
  if cgeneration < g then return {'drop', 'stale callback generation'} end
  if cgeneration == g then
    if cattempt <= settled then
      if cattempt < settled or r[5] ~= ARGV[5] then return {'drop', 'settled by another copy'} end
      local s = get('callback', 'callback_eta', 'callback_error', 'callback_dead')
      return {'settled', s[1], s[2] or '0', s[3] or '', s[4] or '0'}
    end
    if r[8] == 'delivered' or r[8] == 'failed' then return {'drop', r[8]} end
    local lease = tonumber(r[7] or '0')
    if lease > now and r[6] ~= ARGV[6] then return {'leased', lease - now} end
  end
end
if ARGV[7] ~= '0' then
  set('callback_generation', cgeneration, 'callback_owner', ARGV[6], 'callback_lease', ARGV[7])
end
return {'run'}
