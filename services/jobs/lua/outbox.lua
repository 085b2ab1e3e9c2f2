-- The webhook outbox: what receivers are to be told, written in the call that changes what they are told of.
-- A delivery is a hash, a list that logs its attempts, and, while it is pending, a member of DELIVERIES with the time of
-- its next attempt. Who takes it moves that time to the end of a lease: when that one dies, another takes it then.

local OUTBOX_MS = 7 * 24 * 3600 * 1000  -- kept after the event, and after each attempt
local DISABLED_MS = OUTBOX_MS           -- that a receiver which answered 410 is left alone
local ATTEMPTS = 20                     -- kept in the log, the newest

local function keep(id)
  redis.call('PEXPIRE', delivery(id), OUTBOX_MS)
  redis.call('PEXPIRE', attempts(id), OUTBOX_MS)
  redis.call('PEXPIRE', deliveries_of(redis.call('HGET', delivery(id), 'subject')), OUTBOX_MS)
end

local function send_at(id, time_ms)
  redis.call('ZADD', DELIVERIES, time_ms, id)
  redis.call('PUBLISH', changed('deliveries'), 'due')
end

local outbox = {}

-- Owe the event of a subject (a job, a batch) to its webhook, {"url": …, "events": […]}, if that asks for it. A subject
-- has each event once at most, and its delivery has one id for ever, and the trace of its subject, if that has one.
function outbox.add(subject, tenant, webhook, event, traceparent)
  local asked = cjson.decode(webhook)
  local wanted = false
  for _, name in ipairs(asked.events) do wanted = wanted or name == event end
  if not wanted then return end
  local id = 'msg_' .. redis.sha1hex(subject .. ' ' .. event)
  redis.call('HSET', delivery(id), 'id', id, 'subject', subject, 'tenant', tenant, 'event', event, 'url', asked.url,
    'status', 'pending', 'created_at', now, 'attempt', 0, 'tries', 0, 'traceparent', traceparent or '')
  redis.call('RPUSH', deliveries_of(subject), id)
  keep(id)
  send_at(id, now)
end

-- Erase the deliveries of the subject, sent or not.
function outbox.forget(subject)
  for _, id in ipairs(redis.call('LRANGE', deliveries_of(subject), 0, -1)) do
    redis.call('DEL', delivery(id), attempts(id))
    redis.call('ZREM', DELIVERIES, id)
  end
  redis.call('DEL', deliveries_of(subject))
end

local function end_as(id, status)
  redis.call('ZREM', DELIVERIES, id)
  redis.call('HSET', delivery(id), 'status', status)
end

-- The fields, the time of the next attempt, if one is to come, and the log.
local function see_delivery(id)
  return {redis.call('HGETALL', delivery(id)), redis.call('ZSCORE', DELIVERIES, id), redis.call('LRANGE', attempts(id), 0, -1)}
end

-- Whether the delivery is to be attempted now; if so, it is ours until the lease ends.
local function take(id, lease_ms)
  local tenant, url = unpack(redis.call('HMGET', delivery(id), 'tenant', 'url'))
  if not url then redis.call('ZREM', DELIVERIES, id) return false end
  if redis.call('EXISTS', disabled(tenant, url)) == 1 then end_as(id, 'disabled') return false end
  redis.call('HINCRBY', delivery(id), 'attempt', 1)
  redis.call('HINCRBY', delivery(id), 'tries', 1)
  redis.call('ZADD', DELIVERIES, now + lease_ms, id)
  return true
end

-- Lease up to `limit` deliveries whose time has come; and say in how many ms the next one's comes.
function frees.take_deliveries(limit, lease_ms)
  local taken = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', DELIVERIES, '-inf', now, 'LIMIT', 0, limit)) do
    if take(id, lease_ms) then table.insert(taken, redis.call('HGETALL', delivery(id))) end
  end
  local first = redis.call('ZRANGE', DELIVERIES, 0, 0, 'WITHSCORES')
  return {taken, first[2] and math.max(0, first[2] - now) or false}
end

-- Log an attempt; if nobody has taken the delivery since, it ends as `status`, or stays pending for `wait_ms`.
function frees.log_delivery(id, attempt, entry, status, wait_ms)
  local current, tenant, url = unpack(redis.call('HMGET', delivery(id), 'attempt', 'tenant', 'url'))
  if not current then return end
  redis.call('RPUSH', attempts(id), entry)
  redis.call('LTRIM', attempts(id), -ATTEMPTS, -1)
  keep(id)
  if status == 'disabled' then redis.call('SET', disabled(tenant, url), 1, 'PX', DISABLED_MS) end
  if current ~= attempt then return end
  if status == 'pending' then send_at(id, now + wait_ms) else end_as(id, status) end
end

-- Of a subject of the caller's.
function reads.deliveries(subject)
  local found = {}
  for _, id in ipairs(redis.call('LRANGE', deliveries_of(subject), 0, -1)) do
    if redis.call('HGET', delivery(id), 'tenant') == TENANT then table.insert(found, see_delivery(id)) end
  end
  return found
end

-- Begin the schedule anew, at once, and call a receiver again that was disabled. An attempt that is under way does not
-- count as the answer to this.
function writes.redeliver(subject, id)
  local owner, tenant, url = unpack(redis.call('HMGET', delivery(id), 'subject', 'tenant', 'url'))
  if owner ~= subject or tenant ~= TENANT then return false end
  redis.call('DEL', disabled(tenant, url))
  redis.call('HINCRBY', delivery(id), 'attempt', 1)
  redis.call('HSET', delivery(id), 'status', 'pending', 'tries', 0)
  keep(id)
  send_at(id, now)
  return see_delivery(id)
end
