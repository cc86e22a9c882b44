-- What a client or an operator does to a job: cancel, retry, redrive a dead letter, or forget it.
-- What must be published then is written down as `owed` ("<execute|callback> <token>") until paid.lua takes it out;
-- "news <token>" where the indexes and listeners are to be told, and nothing is published.
-- ARGV: act (cancel | retry | redrive-execute | redrive-callback | forget-execute | forget-callback), token, tenant,
--       retention ms, dead retention ms, callback wanted (0 | 1), most generations
-- Replies {'ok', fresh (0: this very act was done before), reason that the job had, state, log}
--       | {'unknown'} | {'refused', status, why}
local HOUR = 3600000
local act, token, now, dead_retention = ARGV[1], ARGV[2], clock(), tonumber(ARGV[5])
local r = get('status', 'tenant', 'generation', 'attempt', 'eta', 'acted', 'owed', 'dead', 'callback', 'callback_dead',
  'callback_eta', 'callback_generation', 'expires', 'reason')
local status, callback = r[1], r[9]
if not status or (r[2] or 'default') ~= ARGV[3] or redis.call('EXISTS', log) == 0 then return {'unknown'} end
local dead = r[8] == '1' and is_final(status) and status ~= 'completed'
local callback_dead = callback == 'failed' and r[10] == '1'

local function done(fresh)
  return {'ok', fresh, r[14] or '', redis.call('HGETALL', state), redis.call('LRANGE', log, 0, -1)}
end

local function refused(why)
  return {'refused', status, why}
end

local function owe(kind)
  set('owed', kind .. ' ' .. token, 'acted', token)
end

-- A copy that is out arrives at its eta, and may then wait in its queue as long as an open record is kept.
local function outlive(eta)
  local at = math.max(tonumber(eta or '0'), now) + math.max(dead_retention, HOUR)
  set('stale_until', math.max(at, tonumber(redis.call('HGET', state, 'stale_until') or '0')))
end

-- Done before: its reply was lost, or nobody knows yet whether its message is out.
if r[6] == token then return done(0) end
local owes = r[7] and string.match(r[7], '^%a+')
if (owes == 'callback' or owes == 'news') and act == 'cancel' and status == 'cancelled' then return done(0) end
if owes == 'callback' and act == 'redrive-callback' and callback == 'pending' then return done(0) end
if owes == 'execute' and status == 'queued' and (act == 'retry' or act == 'redrive-execute') then return done(0) end

if act == 'cancel' then
  if is_final(status) then return refused('final') end
  outlive(r[5])
  set('status', 'cancelled', 'completed', now, 'updated', now, 'error', 'cancelled', 'reason', 'cancelled', 'dead', '0',
    'eta', '0', 'lease', '0', 'claims', '0', 'callback', ARGV[6] == '1' and 'pending' or 'none')
  redis.call('HDEL', state, 'wait_reason', 'holds')
  owe(ARGV[6] == '1' and 'callback' or 'news')
  keep_until(now + ARGV[4])
elseif act == 'retry' or act == 'redrive-execute' then
  if act == 'redrive-execute' and not dead then return refused('not dead') end
  if status == 'completed' or status == 'in_progress' or status == 'queued' then return refused(status) end
  if tonumber(r[3]) >= tonumber(ARGV[7]) then return refused('generations') end
  if not is_final(status) then
    outlive(r[5])
    if tonumber(r[13] or '0') <= now then redis.call('HDEL', state, 'expires') end
  else
    if callback == 'pending' then outlive(r[11]) end
    set('base', r[4], 'error', '')
    redis.call('HDEL', state, 'completed', 'dead', 'reason', 'expires', 'callback', 'callback_generation',
      'callback_attempt', 'callback_settled_by', 'callback_owner', 'callback_lease', 'callback_claims', 'callback_eta',
      'callback_error', 'callback_dead')
  end
  set('generation', r[3] + 1, 'status', 'queued', 'updated', now, 'eta', '0', 'lease', '0', 'claims', '0')
  redis.call('HDEL', state, 'owner', 'settled_by', 'wait_reason', 'holds')
  owe('execute')
  keep_until(now + dead_retention)
elseif act == 'redrive-callback' then
  if not callback_dead then return refused('not dead') end
  set('callback', 'pending', 'callback_generation', (r[12] or '1') + 1, 'callback_attempt', '0', 'callback_lease', '0',
    'updated', now)
  redis.call('HDEL', state, 'callback_settled_by', 'callback_owner', 'callback_claims', 'callback_eta', 'callback_error',
    'callback_dead')
  owe('callback')
  keep_until(now + dead_retention)
else
  if act == 'forget-execute' then
    if not dead then return refused('not dead') end
    set('dead', '0', 'updated', now, 'acted', token)
    dead = false
  else
    if not callback_dead then return refused('not dead') end
    set('callback_dead', '0', 'updated', now, 'acted', token)
    callback_dead = false
  end
  if not dead and not callback_dead and callback ~= 'pending' then keep_until(now + ARGV[4]) end
end
return done(1)
