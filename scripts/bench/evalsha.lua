-- The same limits, counted in Redis for all nodes, by lua-nginx-redis
-- (lua-resty-redis) with its pool of connections: one EVALSHA a lookup.

local redis = require "nginx.redis"

local _M = {}

local address, script, sha

function _M.init(where, file)
    local handle = assert(io.open(file))
    address, script = "unix:" .. where, handle:read("*a")
    handle:close()

    sha = ngx.sha1_bin(script):gsub(".", function(c)
        return string.format("%02x", c:byte())
    end)
end


local function ask(client, ...)
    local verdict, err = client:evalsha(sha, 3, ...)

    if err and err:find("NOSCRIPT", 1, true) then
        verdict, err = client:eval(script, 3, ...)
    end

    return verdict, err
end


-- the status of a lookup

function _M.count(account, patient)
    local client = redis:new()
    client:set_timeout(5000)

    local ok, err = client:connect(address)
    if not ok then
        ngx.log(ngx.ERR, "redis: ", err)
        return 503
    end

    local key = "lua:{" .. account .. "}"
    local status
    status, err = ask(client, key .. "seen", key .. "new", key .. "lookups",
                      patient, ngx.now())
    if not status then
        ngx.log(ngx.ERR, "redis: ", err)
        return 503
    end

    client:set_keepalive(3600000, 64)
    return status
end


return _M
