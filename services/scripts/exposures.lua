-- What users have seen, by exposure key.

local HISTORY = 500  -- views kept of a key, the newest

local function exposure(name) return P .. 'exposure:' .. name end          -- output -> view
local function order(name) return P .. 'exposure:' .. name .. ':order' end  -- outputs as they were seen

-- Add views to a history: an output counts once and keeps its place. Judging replaces the view that is there; having
-- an output made, without a judgement, does not.
local function see(name, views, judged)
  for _, new in ipairs(cjson.decode(views)) do
    if judged or new.feedback ~= 'neutral' or redis.call('HEXISTS', exposure(name), new.output) == 0 then
      redis.call('HSET', exposure(name), new.output, cjson.encode(new))
      redis.call('ZADD', order(name), 'NX', redis.call('INCR', P .. 'views'), new.output)
    end
  end
  for _, output in ipairs(redis.call('ZRANGE', order(name), 0, -HISTORY - 1)) do
    redis.call('HDEL', exposure(name), output)
    redis.call('ZREM', order(name), output)
  end
end

function operations.history(name)
  local seen = redis.call('ZRANGE', order(name), 0, -1)
  if #seen == 0 then return {} end
  return redis.call('HMGET', exposure(name), unpack(seen))
end

function operations.see(name, views) see(name, views, true) end

function operations.forget(name) redis.call('DEL', exposure(name), order(name)) end
