-- What users have seen, by exposure key. A history ends keep_ms after it was last added to, or when its tenant has `most`
-- newer ones.

local HISTORY = 500  -- views kept of a key, the newest

local function forget(tenant, name)
  redis.call('DEL', exposure(name), order(name))
  redis.call('ZREM', exposures_of(tenant), name)
end

local function keep_history(tenant, name, keep_ms, most)
  local all = exposures_of(tenant)
  redis.call('ZADD', all, now, name)
  for _, key in ipairs({all, exposure(name), order(name)}) do redis.call('PEXPIRE', key, keep_ms) end
  local expired = redis.call('ZRANGEBYSCORE', all, '-inf', now - keep_ms, 'LIMIT', 0, BATCH)
  for _, old in ipairs(expired) do forget(tenant, old) end
  for _, old in ipairs(beyond(all, most)) do forget(tenant, old) end
end

-- Add views to a history: an output counts once and keeps its place. Judging replaces the view that is there; having
-- an output made, without a judgement, does not.
local function see(tenant, name, views, judged, keep_ms, most)
  for _, new in ipairs(cjson.decode(views)) do
    if judged or new.feedback ~= 'neutral' or redis.call('HEXISTS', exposure(name), new.output) == 0 then
      redis.call('HSET', exposure(name), new.output, cjson.encode(new))
      redis.call('ZADD', order(name), 'NX', redis.call('INCR', VIEWS), new.output)
    end
  end
  for _, output in ipairs(beyond(order(name), HISTORY)) do
    redis.call('HDEL', exposure(name), output)
    redis.call('ZREM', order(name), output)
  end
  keep_history(tenant, name, keep_ms, most)
end

function reads.history(name)
  local seen = redis.call('ZRANGE', order(name), 0, -1)
  if #seen == 0 then return {} end
  return redis.call('HMGET', exposure(name), unpack(seen))
end

function writes.see(name, views, keep_ms, most) see(TENANT, name, views, true, keep_ms, most) end

function frees.forget(name) forget(TENANT, name) end
