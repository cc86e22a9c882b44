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

-- Leases run by the store's clock: those of the services may differ.
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function is_final(status)
  return status == 'completed' or status == 'failed' or status == 'cancelled' or status == 'expired'
end

local function keep_until(at)
  redis.call('PEXPIREAT', state, at)
  redis.call('PEXPIREAT', log, at)
end

-- Makes the record what a message says it is: after a loss of writes, and for a message that is ahead of its record.
-- history is a JSON array of the attempts that the message carries.
local function rebuild(job, generation, attempts, created, history)
  redis.call('DEL', state, log)
  redis.call('RPUSH', log, job)
  for _, entry in ipairs(cjson.decode(history)) do redis.call('RPUSH', log, entry) end
  set('generation', generation, 'attempt', attempts, 'created', created, 'updated', created,
    'status', tonumber(attempts) > 0 and 'waiting' or 'queued')
end
