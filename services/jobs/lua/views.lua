-- Reading jobs: views, which find late jobs failed, and pages of them.

local PREVIEW_MS = 10000   -- the newest preview is kept, no other

-- The hash, and of a job that runs for how long its worker has not renewed the lease.
local function fields(id)
  local all, ends = redis.call('HGETALL', job(id)), redis.call('ZSCORE', leases(model_of(id)), id)
  local lease_ms = ends and field(id, 'lease_ms')
  if lease_ms then
    table.insert(all, 'silent_ms')
    table.insert(all, string.format('%.0f', now - ends + lease_ms))
  end
  return all
end

local function overdue() return redis.call('ZRANGEBYSCORE', STARTS, '-inf', now, 'LIMIT', 0, BATCH) end

local function fail_late(id)
  settle(id, 'failed')
  redis.call('HSET', job(id), 'result', LATE)
end

-- Whoever looks at a job that was not started in time finds it failed: a read, which may not write, has its caller call
-- `fail_late` and read again.
local function look(id)
  local latest = redis.call('ZSCORE', STARTS, id)
  if not latest or tonumber(latest) > now then return end
  if memo.may_write then fail_late(id) else table.insert(memo.late, id) end
end

function frees.fail_late(...)
  for _, id in ipairs({...}) do look(id) end
end

-- Some of those that nobody looks at, with each call that may write.
local function fail_overdue()
  for _, id in ipairs(overdue()) do fail_late(id) end
end

-- The id, the fields, and for a waiting job its place: its position and, once known, the milliseconds until its start.
local function view(id)
  look(id)
  return {id, fields(id), place(id)}
end

-- A view for where there are many of them: without what a run's outputs have in common, which is long.
local function brief(id)
  local whole, kept = view(id), {}
  for i = 1, #whole[2], 2 do
    if whole[2][i] ~= 'replay' then
      table.insert(kept, whole[2][i])
      table.insert(kept, whole[2][i + 1])
    end
  end
  return {id, kept, whole[3]}
end

-- A view; 1 for a job whose outputs are erased, 0 for what the caller does not know of.
function reads.get(id)
  if visible(id) then return view(id) end
  return redis.call('GET', gone(outputs(id))) == TENANT and 1 or 0
end

function reads.glance(id) return visible(id) and brief(id) or 0 end

function reads.find(id) return field(id, 'status') and brief(id) end

function reads.events(id, after)
  if not visible(id) then return {} end
  look(id)
  return redis.call('XRANGE', events(id), '(' .. after, '+', 'COUNT', BATCH)
end

-- Up to `limit` brief views, and the cursor of those that follow, if any do.
local function page(set, before, limit)
  local found = redis.call('ZREVRANGEBYSCORE', set, '(' .. before, '-inf', 'WITHSCORES', 'LIMIT', 0, limit + 1)
  local views = {}
  for i = 1, math.min(#found, 2 * limit), 2 do table.insert(views, brief(found[i])) end
  return {views, #found > 2 * limit and found[2 * limit]}
end

-- The caller's jobs, of one status or, with '', of all.
function reads.list(status, before, limit)
  for _, id in ipairs(status == '' and {} or overdue()) do look(id) end
  return page(status == '' and jobs_of(TENANT) or status_of(TENANT, status), before, limit)
end

-- Ask for previews for keep_ms more; answers with the newest, unless it was shown at `seen`.
function frees.preview(id, seen, keep_ms)
  if not visible(id) then return false end
  redis.call('SET', watched(id), 1, 'PX', keep_ms)
  local newest = redis.call('HMGET', preview(id), 'shown_at', 'data')
  return newest[1] and newest[1] ~= seen and newest
end
