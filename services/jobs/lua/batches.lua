-- Batches: jobs that were submitted together, and are told of together when the last of them has ended.

local function finish_batch(id)
  redis.call('HSET', batch(id), 'finished_at', now)
  local expires, tenant, webhook, traceparent =
    unpack(redis.call('HMGET', batch(id), 'expires_at', 'tenant', 'webhook', 'traceparent'))
  redis.call('PEXPIREAT', batch(id), expires)
  if webhook ~= '' then outbox.add(id, tenant, webhook, 'batch.finished', traceparent) end
end

function leave_batch(id, job_id, expires)
  if redis.call('SREM', open_jobs(id), job_id) == 0 then return end
  if tonumber(redis.call('HGET', batch(id), 'expires_at')) < expires then
    redis.call('HSET', batch(id), 'expires_at', expires)
  end
  if redis.call('SCARD', open_jobs(id)) == 0 then finish_batch(id) end
end

-- The fields, and a brief view of each job that there is.
local function view_batch(id)
  local views = {}
  for _, job_id in ipairs(cjson.decode(redis.call('HGET', batch(id), 'jobs'))) do
    if visible(job_id) then table.insert(views, brief(job_id)) end
  end
  return {redis.call('HGETALL', batch(id)), views}
end

-- `items` says what the caller was told of each; `jobs` has, of those that can become one, [id, request, keep_ms];
-- `webhook` is as outbox.add takes it, or ''.
function writes.submit_batch(id, items, jobs, webhook, max_queued, keep_ms, key, body_hash, keep_key_ms, traceparent,
    sweep)
  if redis.call('EXISTS', batch(id)) == 1 then return {'created', view_batch(id)} end  -- our own call, sent again
  local first, conflicts = spent(key, body_hash)
  if conflicts and first then return {'conflict'} end
  if first then return {'replayed', reads.get_batch(first)} end
  local taken, refused = {}, {}
  redis.call('HSET', batch(id), 'id', id, 'tenant', TENANT, 'items', items, 'webhook', webhook,
    'traceparent', traceparent, 'sweep', sweep, 'created_at', now, 'expires_at', now + keep_ms)
  for _, one in ipairs(cjson.decode(jobs)) do
    local wanted, model = read_request(one[2])
    if full(TENANT, model, max_queued) then
      table.insert(refused, one[1])
    else
      redis.call('SADD', open_jobs(id), one[1])
      add(one[1], TENANT, one[2], wanted, one[3], traceparent, 'batch', id)
      table.insert(taken, one[1])
    end
  end
  redis.call('HSET', batch(id), 'jobs', #taken > 0 and cjson.encode(taken) or '[]')
  redis.call('HSET', batch(id), 'refused', #refused > 0 and cjson.encode(refused) or '[]')
  if #taken == 0 then finish_batch(id) end
  spend(key, body_hash, id, keep_key_ms)
  return {'created', view_batch(id)}
end

local function visible_batch(id) return redis.call('HGET', batch(id), 'tenant') == TENANT end

function reads.get_batch(id) return visible_batch(id) and view_batch(id) end

function frees.cancel_batch(id)
  if not visible_batch(id) then return false end
  for _, job_id in ipairs(redis.call('SMEMBERS', open_jobs(id))) do cancel(job_id) end
  return view_batch(id)
end
