-- The example's four limits in a shared dictionary, as one node can keep them
-- in Lua: a window is the count of this stretch of time and what is left of
-- the one before, a patient is new who has no entry.

local counts = ngx.shared.counts
local floor = math.floor

local HOUR, DAY, MEMORY = 3600, 86400, 28 * 86400

-- the key to count up, and what the window holds

local function window(account, signal, seconds, now)
    local n = floor(now / seconds)
    local key = account .. signal .. n
    local before = counts:get(account .. signal .. n - 1)
    local held = counts:get(key) or 0

    if before then
        held = held + before * (1 - (now % seconds) / seconds)
    end

    return key, held
end


-- the status of a lookup: 200, or what it is refused by

local function count(account, patient)
    local now = ngx.now()
    local known = counts:get(account .. ":known:" .. patient)

    local lookups, all = window(account, ":lookups:", DAY, now)
    if all >= 5000 then
        return 403
    end

    local patients, different = window(account, ":patients:", DAY, now)
    local today = patients .. ":" .. patient
    local counted = counts:get(today)
    if not counted and different >= 600 then
        return 403
    end

    if not known then
        local daily, day = window(account, ":new:", DAY, now)
        if day >= 450 then
            return 403
        end

        local hourly, hour = window(account, ":new1h:", HOUR, now)
        if hour >= 60 then
            return 429
        end

        counts:incr(daily, 1, 0, 2 * DAY)
        counts:incr(hourly, 1, 0, 2 * HOUR)
    end

    counts:set(account .. ":known:" .. patient, true, MEMORY)
    counts:incr(lookups, 1, 0, 2 * DAY)

    if not counted then
        counts:set(today, true, 2 * DAY)
        counts:incr(patients, 1, 0, 2 * DAY)
    end

    return 200
end


-- its lookups, of today and yesterday

local function counted(account)
    local day = floor(ngx.now() / DAY)
    return (counts:get(account .. ":lookups:" .. day) or 0)
           + (counts:get(account .. ":lookups:" .. day - 1) or 0)
end


return count, counted
