-- Prelude of every script. A job is two keys in one slot:
--   KEYS[1] carom:{<jobId>}:state  hash of small fields
--   KEYS[2] carom:{<jobId>}:log    list: the job as JSON, then one entry an attempt as JSON
-- Every transition is safe to run twice (a client repeats a script whose reply was lost).

local state, log = KEYS[1], KEYS[2]

local function get(...)
  return redis.call('HMGET', state, ...)
end

local function set(...)
  redis.call('HSET', state, ...)
end

local function add(fields, name, value)
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end

-- Leases run by the store's clock: those of the services may differ.
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- What is left, in ms, of what `field` says to end at `till` and was given for `ms` at most. One that ends later was given
-- before the clock went back: it is cut, or the job of who died with it would wait for as long as that.
local function left(field, till, now, ms)
  local rest = tonumber(till or '0') - now
  if rest > tonumber(ms) then
    rest = tonumber(ms)
    set(field, now + rest)
  end
  return rest
end

local function is_final(status)
  return status == 'completed' or status == 'failed' or status == 'cancelled' or status == 'expired'
end

-- The log goes when the record does; its state stays for as long as a copy that must be recognised may still arrive:
-- `stale_until`, which is read where the caller did not.
local function keep_until(at, stale_until)
  if stale_until == nil then stale_until = redis.call('HGET', state, 'stale_until') end
  local stale = tonumber(stale_until or '0')
  if stale > 0 then set('shown_until', at) end
  redis.call('PEXPIREAT', state, stale > tonumber(at) and stale or at)
  if log then redis.call('PEXPIREAT', log, at) end
end

-- Makes the record what a message says it is: after a loss of writes, and for a message that is ahead of its record.
-- history is a JSON array of the attempts that the message carries, birth one of what never changes:
-- [created, tenant, expires, base].
local function rebuild(job, generation, attempts, eta, birth, history)
  local b = cjson.decode(birth)
  local stale = redis.call('HGET', state, 'stale_until')
  redis.call('DEL', state, log)
  redis.call('RPUSH', log, job, unpack(cjson.decode(history)))
  local status = 'queued'
  if tonumber(attempts) > b[4] then status = 'waiting' elseif eta ~= '0' then status = 'scheduled' end
  local created = string.format('%d', b[1])
  local fields = {'generation', generation, 'attempt', attempts, 'created', created, 'updated', created, 'status', status,
    'eta', eta, 'tenant', b[2]}
  if b[3] > 0 then add(fields, 'expires', string.format('%d', b[3])) end
  if b[4] > 0 then add(fields, 'base', b[4]) end
  if stale then add(fields, 'stale_until', stale) end
  set(unpack(fields))
end
