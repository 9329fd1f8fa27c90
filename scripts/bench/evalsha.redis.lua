-- KEYS  seen: patients by when they were last seen; new: patients by when they
--       were new; lookups: a hash, lookups of each day
-- ARGV  patient, now
-- Reply the status of the lookup

local HOUR, DAY, MEMORY = 3600, 86400, 28 * 86400

local seen, new, lookups = KEYS[1], KEYS[2], KEYS[3]
local patient, now = ARGV[1], tonumber(ARGV[2])

local day = math.floor(now / DAY)
local counts = redis.call('HMGET', lookups, day, day - 1)
local left = (tonumber(counts[2]) or 0) * (1 - (now % DAY) / DAY)

if (tonumber(counts[1]) or 0) + left >= 5000 then
    return 403
end

local last = redis.call('ZSCORE', seen, patient)

if not (last and tonumber(last) > now - DAY)
   and redis.call('ZCOUNT', seen, now - DAY, '+inf') >= 600
then
    return 403
end

if not last then
    if redis.call('ZCOUNT', new, now - DAY, '+inf') >= 450 then
        return 403
    end

    if redis.call('ZCOUNT', new, now - HOUR, '+inf') >= 60 then
        return 429
    end

    redis.call('ZADD', new, now, patient)
    redis.call('ZREMRANGEBYSCORE', new, '-inf', now - DAY)
    redis.call('EXPIRE', new, DAY)
    redis.call('ZREMRANGEBYSCORE', seen, '-inf', now - MEMORY)
end

redis.call('ZADD', seen, now, patient)
redis.call('EXPIRE', seen, MEMORY)

if redis.call('HINCRBY', lookups, day, 1) == 1 then
    redis.call('HDEL', lookups, day - 2)
end

redis.call('EXPIRE', lookups, 2 * DAY)

return 200
